#!/bin/bash
# Mirrors near sites: nginx of Debian serves synced trees to the stock agent of Debian and to ours, in network namespaces
# that stand for sites.
#
#   cargo build --release && tests/interop/mirrors.sh
#
# Needs root on Debian 12 and network namespaces (ip netns). It takes dripfeed, dripfeed-agent and dripfeed-mirror from
# target/release, or the programs that $DRIPFEED, $DRIPFEED_AGENT and $DRIPFEED_MIRROR name. Nothing leaves the namespaces,
# which are its own and are removed at its end. Without root, or without the right to make namespaces, it says so and fails,
# or, with SKIP_WITHOUT_ROOT=1, says so and succeeds.
#
#   hub ─┬─ server   10.77.0.1
#        ├─ mirror a 10.77.1.1   nginx   ├─ computer a 10.77.1.10   the stock agent
#        ├─ mirror b 10.77.2.1   nginx   └─ computer b 10.77.2.10   ours
#        └─ mirror c 10.77.3.1   dripfeed-mirror serve, info files over TLS, too
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly FRAGMENTS=6          # of each package
readonly FRAGMENT=20000       # bytes
readonly SILENT=6             # seconds after which a mirror is not offered any more
readonly CHILD_SECONDS=120    # how long one run of an agent may go on downloading

NAME=mirrors
. tests/interop/lib.sh
begin
need_mirror
install_packages "${stock_agent_packages[@]}" nginx iproute2 curl openssl

# ------------------------------------------------------------------------------------------------------ the network

make_work dripfeed-mirrors
data=$work/data
ca=$data/certs/ca.pem
out=$work/out
mkdir -p "$data" "$out"
prefix=df$$
places=(hub server ma mb mc ca cb)
pids=()

finish() {
  local status=$? pid place
  trap - EXIT
  kill_stock_children "$work/agent-a"
  for pid in "${pids[@]}"; do end_process "$pid"; done
  for place in "${places[@]}"; do ip netns delete "$prefix$place" 2>/dev/null || true; done
  if [ "$status" != 0 ] || [ "$failed" != 0 ]; then tell_logs "$work"/*.log "$work"/*.access; fi
  remove_work
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

at() { # at PLACE COMMAND…
  local place=$1
  shift
  ip netns exec "$prefix$place" "$@"
}
if ! ip netns add "${prefix}hub" 2>"$work/netns.log"; then
  say "SKIPPED: network namespaces cannot be made here: $(head -n 1 "$work/netns.log")"
  [ "${SKIP_WITHOUT_ROOT:-0}" = 1 ] && exit 0
  exit 1
fi
at hub ip link add name br0 type bridge
at hub ip link set br0 up
plug() { # plug PLACE ADDRESS
  ip netns add "$prefix$1"
  at "$1" ip link set lo up
  at hub ip link add name "to-$1" type veth peer name eth0 netns "$prefix$1"
  at hub ip link set "to-$1" master br0 up
  at "$1" ip address add "$2/16" dev eth0
  at "$1" ip link set eth0 up
}
plug server 10.77.0.1
plug ma 10.77.1.1
plug mb 10.77.2.1
plug mc 10.77.3.1
plug ca 10.77.1.10
plug cb 10.77.2.10

# ------------------------------------------------------------------------------------------------------- the server

cat >"$data/dripfeed.toml" <<TOML
public_name = "10.77.0.1"
[mirrors]
probe = "1s"
[settings]
DOWNLOAD_FRAG_LATENCY = 1
DOWNLOAD_CYCLE_LATENCY = 1
DOWNLOAD_PERIOD_LATENCY = 0
DOWNLOAD_PERIOD_LENGTH = 10
FREQUENCY = 0
PROLOG_FREQ = 1
TOML
# Not with `at`: what is to be ended later must be the program itself, not a shell around it.
ip netns exec "${prefix}server" "$dripfeed" serve --data-dir "$data" --http 10.77.0.1:8080 --https 10.77.0.1:8443 </dev/null >"$work/server.log" 2>&1 &
pids+=($!)
wait_until 30 test -s "$data/addresses.json" || die "the server did not come up"
verb() { at server "$dripfeed" "$@" --data-dir "$data"; }
server_url=https://10.77.0.1:8443/ocsinventory

publish() { # publish NAME [OPTION…]: prints the id; the options are those of activate
  local id name=$1 directory=$work/source/$1
  shift
  mkdir -p "$directory"
  head -c $((FRAGMENTS * FRAGMENT - 4000)) /dev/urandom >"$directory/payload"
  printf '#!/bin/sh\necho %s >>%s/order\n' "$name" "$out" >"$directory/run.sh"
  chmod 755 "$directory/run.sh"
  id=$(build "$directory" --name "$name" --action launch --command ./run.sh --priority 1 --fragment-size "$FRAGMENT")
  [ -z "$mirror_c" ] || wait_until 20 holds c "$id" || return 1
  verb activate "$id" "$@" </dev/null >>"$work/verbs.log" 2>&1 || return 1
  printf '%s' "$id"
}
mirror_c=
first=$(publish first) || die "the first package was not published"

# ------------------------------------------------------------------------------------------------------ the mirrors

# The block of docs/mirrors.md, as it stands there: what is documented is what is tried.
location=$(sed -n '/^```nginx$/,/^```$/p' docs/mirrors.md | sed '1d;$d')
[ -n "$location" ] || die "docs/mirrors.md has no block for nginx"
start_sync() { # start_sync PLACE: sets sync_PLACE
  local place=$1 token
  token=$(verb mirror add "${place#m}" '$IP$:8080/download' --silent-after "${SILENT}s" --json | json token)
  DRIPFEED_MIRROR_TOKEN=$token ip netns exec "$prefix$place" "$dripfeed_mirror" sync --from https://10.77.0.1:8443/download --ca "$ca" \
    --to "$work/$place" --every 1s --key "$(verb mirror key)" </dev/null >>"$work/$place.log" 2>&1 &
  pids+=($!)
  printf -v "sync_$place" %s "$!"
}
start_mirror() { # start_mirror PLACE ADDRESS: sets sync_PLACE and nginx_PLACE
  local place=$1 address=$2
  start_sync "$place"
  mkdir -p "$work/$place-nginx"
  cat >"$work/$place.conf" <<CONF
user root;
worker_processes 1;
daemon off;
pid $work/$place-nginx/pid;
error_log $work/$place-nginx.log;
events { worker_connections 256; }
http {
  log_format plain '\$remote_addr \$request_uri \$status';
  access_log $work/$place.access plain;
  client_body_temp_path $work/$place-nginx; proxy_temp_path $work/$place-nginx; fastcgi_temp_path $work/$place-nginx;
  uwsgi_temp_path $work/$place-nginx; scgi_temp_path $work/$place-nginx;
  server {
    listen $address:8080;
${location//\/srv\/dripfeed/$work/$place}
  }
}
CONF
  : >"$work/$place.access"
  ip netns exec "$prefix$place" nginx -c "$work/$place.conf" -p "$work/$place-nginx" </dev/null >>"$work/$place-nginx.log" 2>&1 &
  pids+=($!)
  printf -v "nginx_$place" %s "$!"
}
end_web() { # end_web PLACE: its web server alone; the mirror goes on reporting
  local nginx=nginx_$1
  kill -TERM "${!nginx}"
  wait "${!nginx}" 2>/dev/null || true
}
end_mirror() { # end_mirror PLACE: both at once, as when its machine dies
  local sync=sync_$1 nginx=nginx_$1
  kill -9 "${!sync}"
  kill -TERM "${!nginx}" # at once, with its workers
  wait "${!sync}" "${!nginx}" 2>/dev/null || true
}
start_mirror ma 10.77.1.1
start_mirror mb 10.77.2.1
start_sync mc

holds() { grep -q "$2" <<<"$(verb mirror show "$1" --json)"; }
check "mirror a has reported what it holds" wait_until 20 holds a "$first"
check "mirror b has reported what it holds" wait_until 20 holds b "$first"
check "mirror c has reported what it holds" wait_until 20 holds c "$first"
check "a sync of an unchanged tree costs one request, and no body" \
  wait_until 20 grep -qE 'GET /download/manifest 304 .*peer=10\.77\.1\.1 .*sent_bytes=[0-9]{2} ' "$work/server.log"
check "both are called fine" equal "$(verb mirror list --json | json 0 health) $(verb mirror list --json | json 1 health)" "fine fine"

answer() { at ca curl -s -o /dev/null -w '%{http_code}' "$@"; }
fragment=http://10.77.1.1:8080/download/$first/$first-1
check "nginx serves a fragment" equal "$(answer "$fragment")" 200
check "... and never 304" equal "$(answer -H 'If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT' "$fragment")" 200
check "... with ranges" equal "$(answer -H 'Range: bytes=5-9' "$fragment")" 206
check "... without validators" fails grep -qiE '^(etag|last-modified):' <(at ca curl -sI "$fragment")
check "... and no info file in clear" equal "$(answer "http://10.77.1.1:8080/download/$first/info")" 403

# -------------------------------------------------------------------------------------------------------- the agents

state=$(stock_state "$work/agent-a" "$server_url")
# The agent's command line follows its environment, so a command in between is what runs it.
stock() { AGENT_ENVIRONMENT="ip netns exec ${prefix}ca" HOST_NAME=computer-a stock_agent "$work/agent-a" "$server_url" "$ca" "$work/agent-a.log"; }
ours() {
  at cb timeout "${OURS_SECONDS:-$CHILD_SECONDS}" "$dripfeed_agent" once --server "$server_url" --ca "$ca" --data-dir "$work/agent-b" \
    </dev/null >>"$work/agent-b.log" 2>&1
}
fetched() { grep -cE "^$2 /download/$3/$3-[0-9]+ 20[06]$" "$work/$1.access" || true; } # fetched MIRROR ADDRESS ID
from_server() { grep -E "10\.77\.$1\.10" "$work/server.log" | grep -cE "/download/$2/$2-[0-9]+" || true; }
succeeded() { grep -q SUCCESS <<<"$(result_of "$1" "$2")"; }

check "the stock agent registers" stock
stock_child_is_gone "$state" "$CHILD_SECONDS"
ours || true
device_a=$(device_of "$state")
device_b=$(verb computer list --json | json 0 device_id)
[ "$device_b" != "$device_a" ] || device_b=$(verb computer list --json | json 1 device_id)
check "both computers are known" test -n "$device_a" -a -n "$device_b"

deploy() { # deploy ID: to both, who come until they have it
  verb assign "$1" --all >>"$work/verbs.log"
  for _ in 1 2 3; do
    succeeded "$1" "$device_a" && break
    stock || true
    stock_child_is_gone "$state" "$CHILD_SECONDS"
  done
  for _ in 1 2 3; do
    succeeded "$1" "$device_b" && break
    ours || true
  done
}

# -------------------------------------------------------------- the mirror's own server, with info files over TLS, too

# A certificate of the authority that agents trust already.
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=mirror-c -keyout "$work/mc.key" -out "$work/mc.csr" 2>>"$work/mc.log"
openssl x509 -req -in "$work/mc.csr" -CA "$ca" -CAkey "$data/certs/ca.key" -days 2 -out "$work/mc.pem" 2>>"$work/mc.log" \
  -extfile <(printf 'subjectAltName = IP:10.77.3.1\nextendedKeyUsage = serverAuth\n')
cat "$ca" >>"$work/mc.pem"
ip netns exec "${prefix}mc" "$dripfeed_mirror" serve --to "$work/mc" --http 10.77.3.1:8080 --https 10.77.3.1:8443 \
  --certificate "$work/mc.pem" --private-key "$work/mc.key" </dev/null >>"$work/mc-serve.log" 2>&1 &
pids+=($!)
wait_until 20 grep -q 'serving https' "$work/mc-serve.log" || die "dripfeed-mirror serve did not come up"
check "the mirror's own server gives info files over TLS" equal "$(answer --cacert "$ca" "https://10.77.3.1:8443/download/$first/info")" 200
check "... to those who know its authority" equal "$(answer "https://10.77.3.1:8443/download/$first/info")" 000
check "... and not in clear" equal "$(answer "http://10.77.3.1:8080/download/$first/info")" 403
check "... and fragments in clear" equal "$(answer "http://10.77.3.1:8080/download/$first/$first-1")" 200
mirror_c=there
# The server fetches all of it from there first, as an agent does.
served=$(publish served --info-location 10.77.3.1:8443/download --fragment-location 10.77.3.1:8080/download) ||
  die "the package of mirror c was not published"
mirror_c=
deploy "$served"
check "the stock agent has run a package that it had from the mirror's own server" succeeded "$served" "$device_a"
check "our agent has run it, too" succeeded "$served" "$device_b"
check "... and neither had anything of it from the server" equal "$(from_server 1 "$served") $(from_server 2 "$served")" "0 0"
check "... not even the info file" fails grep -qE "10\.77\.[12]\.10.*/download/$served/info" "$work/server.log"

# ------------------------------------------------------------------------------------------------------------- sites

verb site add a 10.77.1.0/24 --mirrors a >>"$work/verbs.log"
verb site add b 10.77.2.0-10.77.2.255 --mirrors b,a >>"$work/verbs.log"
deploy "$first"
check "the stock agent has run the package" succeeded "$first" "$device_a"
check "our agent has run the package" succeeded "$first" "$device_b"
count=$(find "$work/ma/download/$first" -name "$first-*" | wc -l)
check "the computer of site a fetched every fragment from mirror a" test "$(fetched ma 10.77.1.10 "$first")" -ge "$count"
check "... and none from mirror b" equal "$(fetched mb 10.77.1.10 "$first")" 0
check "... and none from the server" equal "$(from_server 1 "$first")" 0
check "the computer of site b fetched every fragment from mirror b" test "$(fetched mb 10.77.2.10 "$first")" -ge "$count"
check "... and none from mirror a" equal "$(fetched ma 10.77.2.10 "$first")" 0
check "... and none from the server" equal "$(from_server 2 "$first")" 0

# ------------------------------------------------------------------------------------- mirrors that die half way

second=$(publish second) || die "the second package was not published"
both_hold() { holds a "$second" && holds b "$second"; }
check "both mirrors have the second package" wait_until 20 both_hold
verb assign "$second" --all >>"$work/verbs.log"

some() { [ "$(fetched "$1" "$2" "$second")" -ge 2 ]; }
# It would wait for the dead mirror for longer than is needed here.
OURS_SECONDS=30 ours & agent_b=$!
check "our agent is at work" wait_until 30 some mb 10.77.2.10
end_web mb
wait "$agent_b" || true
before=$(fetched mb 10.77.2.10 "$second")
check "mirror b died in the middle of it" test "$before" -lt "$count"
health() { verb mirror show "$1" --json | json health; }
has_health() { [ "$(health "$1")" = "$2" ]; }
check "the server finds out, though the mirror goes on reporting" wait_until 30 has_health b unreachable
for _ in 1 2 3 4; do
  succeeded "$second" "$device_b" && break
  ours || true
done
check "our agent has run the second package all the same" succeeded "$second" "$device_b"
check "... going on from the next mirror of its site" test "$(fetched ma 10.77.2.10 "$second")" -ge $((count - before))

stock || true
check "the stock agent is at work" wait_until 30 some ma 10.77.1.10
end_mirror ma
# Its child asks the dead mirror for ever and lets no other begin; the computer is switched off for the night.
sleep 3
kill_stock_children "$work/agent-a"
before=$(fetched ma 10.77.1.10 "$second")
check "mirror a died in the middle of it" test "$before" -lt "$count"
sleep $((SILENT + 1))
check "the server calls one silent, the other unreachable" equal "$(health a) $(health b)" "silent unreachable"
for _ in 1 2 3 4; do
  succeeded "$second" "$device_a" && break
  stock || true
  stock_child_is_gone "$state" "$CHILD_SECONDS"
done
check "the stock agent has run the second package all the same" succeeded "$second" "$device_a"
check "... going on from the server" test "$(from_server 1 "$second")" -ge $((count - before))
check "each ran each package once" equal "$(sort "$out/order" | uniq -c | tr -s ' \n' ' ')" " 2 first 2 second 2 served "
summary
