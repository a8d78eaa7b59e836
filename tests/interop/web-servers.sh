#!/bin/bash
# Any web server can be a mirror: nginx, Apache and Caddy of Debian with the configurations of docs/mirrors.md as they stand there,
# and our own; what each answers, and the stock agent of Debian and ours fetching through it. Then the tree by rsync alone.
#
#   cargo build --release && tests/interop/web-servers.sh
#
# Needs root on Debian 12. It takes dripfeed, dripfeed-agent and dripfeed-mirror from target/release, or the programs that
# $DRIPFEED, $DRIPFEED_AGENT and $DRIPFEED_MIRROR name; everything listens on 127.0.0.1. Without root it says so and fails, or,
# with SKIP_WITHOUT_ROOT=1, says so and succeeds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly FRAGMENTS=3          # of each package
readonly FRAGMENT=20000       # bytes
readonly CHILD_SECONDS=120    # how long one run of an agent may go on downloading
readonly PACKAGES=24          # that come and go while rsync copies

NAME=web-servers
. tests/interop/lib.sh
begin
need_mirror
install_packages "${stock_agent_packages[@]}" nginx apache2 caddy rsync curl

make_work dripfeed-web
data=$work/data
ca=$data/certs/ca.pem
out=$work/out
copy=$work/copy
mkdir -p "$data" "$out"
chmod 755 "$work" # the web servers are not root
pids=()

finish() {
  local status=$? pid
  trap - EXIT
  kill_stock_children "$work/agent-stock"
  for pid in "${pids[@]}"; do end_process "$pid"; done
  if [ "$status" != 0 ] || [ "$failed" != 0 ]; then tell_logs "$work"/*.log; fi
  remove_work
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# ---------------------------------------------------------------------------------------- a server, and a copy of it

cat >"$data/dripfeed.toml" <<TOML
[settings]
DOWNLOAD_FRAG_LATENCY = 1
DOWNLOAD_CYCLE_LATENCY = 1
DOWNLOAD_PERIOD_LATENCY = 0
DOWNLOAD_PERIOD_LENGTH = 10
FREQUENCY = 0
PROLOG_FREQ = 1
TOML
start_server "$data" 127.0.0.1:0 127.0.0.1:0 "$work/server.log"
pids+=("$started")
https=$(json https <"$data/addresses.json")
server_url=https://localhost:${https##*:}/ocsinventory

package() { # package NAME: prints the id
  local directory=$work/source/$1
  mkdir -p "$directory"
  head -c $((FRAGMENTS * FRAGMENT - 4000)) /dev/urandom >"$directory/payload"
  printf '#!/bin/sh\necho %s >>%s/order\n' "$1" "$out" >"$directory/run.sh"
  chmod 755 "$directory/run.sh"
  build "$directory" --name "$1" --action launch --command ./run.sh --priority 1 --fragment-size "$FRAGMENT"
}
servers=(nginx apache caddy serve)
declare -A id url
for name in "${servers[@]}"; do id[$name]=$(package "through-$name"); done
"$dripfeed_mirror" sync --from "https://localhost:${https##*:}/download" --ca "$ca" --to "$copy" >"$work/sync.log" 2>&1 ||
  die "the copy was not made"

# ---------------------------------------------------------------------------------------------------- web servers

# block LANGUAGE: the block of docs/mirrors.md, for this copy
block() {
  local text
  text=$(sed -n "/^\`\`\`$1\$/,/^\`\`\`\$/p" docs/mirrors.md | sed '1d;$d')
  [ -n "$text" ] || die "docs/mirrors.md has no block for $1"
  printf '%s\n' "${text//\/srv\/dripfeed/$copy}"
}
free_port() { perl -MIO::Socket::INET -e 'print IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1")->sockport'; }
begin_server() { # begin_server NAME PORT COMMAND…
  local name=$1 port=$2
  shift 2
  "$@" </dev/null >>"$work/$name.log" 2>&1 &
  pids+=("$!")
  url[$name]=127.0.0.1:$port/download
  wait_until 30 curl -s -o /dev/null "http://127.0.0.1:$port/" || die "$name does not listen"
}

mkdir -p "$work/nginx" "$work/apache" "$work/caddy"
nginx_port=$(free_port)
cat >"$work/nginx/conf" <<CONF
daemon off;
pid $work/nginx/pid;
error_log $work/nginx-errors.log;
events { worker_connections 256; }
http {
  access_log off;
  client_body_temp_path $work/nginx; proxy_temp_path $work/nginx; fastcgi_temp_path $work/nginx;
  uwsgi_temp_path $work/nginx; scgi_temp_path $work/nginx;
  server {
    listen 127.0.0.1:$nginx_port;
$(block nginx)
  }
}
CONF
begin_server nginx "$nginx_port" nginx -c "$work/nginx/conf" -p "$work/nginx"

apache_port=$(free_port)
modules=/usr/lib/apache2/modules
cat >"$work/apache/conf" <<CONF
ServerRoot $work/apache
ServerName 127.0.0.1
PidFile $work/apache/pid
Mutex file:$work/apache
ErrorLog $work/apache-errors.log
Listen 127.0.0.1:$apache_port
User www-data
Group www-data
LoadModule mpm_event_module $modules/mod_mpm_event.so
LoadModule authz_core_module $modules/mod_authz_core.so
LoadModule alias_module $modules/mod_alias.so
LoadModule headers_module $modules/mod_headers.so
# As Debian's own configuration has it: shown are listings, unless the block forbids them.
LoadModule dir_module $modules/mod_dir.so
LoadModule autoindex_module $modules/mod_autoindex.so
<Directory />
    Options FollowSymLinks Indexes
    Require all denied
</Directory>
$(block apache)
CONF
begin_server apache "$apache_port" apache2 -f "$work/apache/conf" -D FOREGROUND

caddy_port=$(free_port)
{
  printf '{\n\tadmin off\n}\n'
  block caddyfile | sed "s|http://mirror.example.net:8080|http://127.0.0.1:$caddy_port|"
} >"$work/caddy/Caddyfile"
begin_server caddy "$caddy_port" env HOME="$work/caddy" XDG_DATA_HOME="$work/caddy" XDG_CONFIG_HOME="$work/caddy" \
  caddy run --config "$work/caddy/Caddyfile" --adapter caddyfile

serve_port=$(free_port)
begin_server serve "$serve_port" "$dripfeed_mirror" serve --to "$copy" --http "127.0.0.1:$serve_port"

# ------------------------------------------------------------------------------------------------ what each answers

answer() { curl -s -o "$work/body" -w '%{http_code}' --path-as-is "$@"; }
head_of() { curl -s -o /dev/null -D - "$@" | tr -d '\r'; }
is_copy() { cmp -s "$work/body" "$file"; }
part_is() { cmp -s "$work/body" <(tail -c "+$(($1 + 1))" "$file" | head -c "$2"); } # part_is FROM BYTES

some=${id[nginx]}
file=$copy/download/$some/$some-1
: >"$copy/download/$some/.$some-1.unfinished"
mkdir -p "$copy/staging/$some"
: >"$copy/staging/$some/$some-1"
future='Fri, 01 Jan 2100 00:00:00 GMT'
for name in "${servers[@]}"; do
  base=http://${url[$name]}
  fragment=$base/$some/$some-1
  check "$name gives a fragment" equal "$(answer "$fragment")" 200
  check "... as it is" is_copy
  check "... all of it to whoever has it, by its date" equal "$(answer -H "If-Modified-Since: $future" "$fragment")" 200
  check "... or by a name that it had" equal "$(answer -H 'If-None-Match: "1-2"' "$fragment")" 200
  check "... as it is" is_copy
  check "... without validators" fails grep -qiE '^(etag|last-modified):' <(head_of "$fragment")
  check "... with its length" grep -qix "content-length: $FRAGMENT" <(head_of "$fragment")
  check "... and nothing else of it for HEAD" grep -qix "content-length: $FRAGMENT" <(head_of -I "$fragment")
  check "... from a byte on" equal "$(answer -H 'Range: bytes=19000-' "$fragment")" 206
  check "... to its end" part_is 19000 1000
  check "... some bytes" equal "$(answer -H 'Range: bytes=5-9' "$fragment")" 206
  check "... those" part_is 5 5
  check "... and none behind its end" equal "$(answer -H "Range: bytes=$FRAGMENT-" "$fragment")" 416
  check "... on one connection" equal "$(curl -s -o /dev/null -o /dev/null -w '%{num_connects} ' "$fragment" "$fragment")" "1 0 "
  check "$name gives no info file in clear" equal "$(answer "$base/$some/info")" 403
  check "... no file that there is not" equal "$(answer "$base/$some/$some-99")" 404
  for hidden in "$some/.$some-1.unfinished" "$some/" "" ../pin ../manifest "../listings/$some" "../staging/$some/$some-1" "..%2fpin"; do
    check "... and not /download/$hidden" matches "$(answer "$base/$hidden")" '^(400|403|404)$'
  done
done
rm -r "$copy/download/$some/.$some-1.unfinished" "${copy:?}/staging/$some"

# ------------------------------------------------------------------------------------------------------- the agents

state=$(stock_state "$work/agent-stock" "$server_url")
stock() { HOST_NAME=stock stock_agent "$work/agent-stock" "$server_url" "$ca" "$work/agent-stock.log"; }
ours() { timeout "$CHILD_SECONDS" "$dripfeed_agent" once --server "$server_url" --ca "$ca" --data-dir "$work/agent-ours" </dev/null >>"$work/agent-ours.log" 2>&1; }
check "the stock agent registers" stock
stock_child_is_gone "$state" "$CHILD_SECONDS"
ours || true
device_stock=$(device_of "$state")
device_ours=$(verb computer list --json | json 0 device_id)
[ "$device_ours" != "$device_stock" ] || device_ours=$(verb computer list --json | json 1 device_id)
activate_at() { verb activate "$1" --fragment-location "$2" >>"$work/verbs.log" 2>&1; }
for name in "${servers[@]}"; do
  # It fetches every fragment from there itself first, and refuses if one does not come.
  check "the server finds the package at $name" activate_at "${id[$name]}" "${url[$name]}"
  verb assign "${id[$name]}" --all >>"$work/verbs.log"
done
succeeded() { grep -q SUCCESS <<<"$(result_of "$1" "$2")"; }
all_succeeded() {
  local name
  for name in "${servers[@]}"; do succeeded "${id[$name]}" "$1" || return 1; done
}
for _ in 1 2 3 4; do
  all_succeeded "$device_stock" && break
  stock || true
  stock_child_is_gone "$state" "$CHILD_SECONDS"
done
for _ in 1 2 3 4; do
  all_succeeded "$device_ours" && break
  ours || true
done
for name in "${servers[@]}"; do
  check "the stock agent has run what it fetched through $name" succeeded "${id[$name]}" "$device_stock"
  check "our agent has run what it fetched through $name" succeeded "${id[$name]}" "$device_ours"
done
check "the server was asked for info files" grep -qE '/download/[0-9]+/info.*OCS-NG' "$work/server.log"
check "... and by no agent for a fragment" fails grep -qE '/download/[0-9]+/[0-9]+-[0-9]+.*OCS-NG' "$work/server.log"

# ---------------------------------------------------------------------------------------------------- rsync alone

from=$work/rsync/from
to=$work/rsync/to
mkdir -p "$from/download" "$to/download" "$work/rsync/new"
commands=$(block rsync)
commands=${commands//SRC/$from}
commands=${commands//DST/$to}

# Looks at the copy until it is told to stop; prints each info file whose fragments are not all there, and how often it looked.
perl -e '
  use strict; use warnings;
  my ($to, $stop) = @ARGV;
  my $seen = 0;
  until (-e $stop) {
    for my $info (glob "$to/download/*/info") {
      my ($directory) = $info =~ m{^(.*)/info$};
      my ($id) = $directory =~ m{([0-9]+)$};
      open my $file, "<", $info or next;
      my $count = <$file>;
      defined $count or do { print "$info is empty\n"; next };
      for my $number (1 .. $count) {
        my $size = -s "$directory/$id-$number";
        # Gone in between with its info file: as it should be.
        print "$info is there, $id-$number is not whole\n" if ($size // 0) != 30000 && -e $info;
      }
      $seen++;
    }
  }
  print "seen $seen\n";
' "$to" "$work/rsync/stop" >"$work/rsync/seen" 2>&1 &
reader=$!
pids+=("$reader")

# Packages come and go as the server does it, by renames, also while a copy is being made.
(
  for number in $(seq "$PACKAGES"); do
    id=$((100 + number))
    mkdir "$work/rsync/new/$id"
    for fragment in 1 2 3 4; do head -c 30000 /dev/urandom >"$work/rsync/new/$id/$id-$fragment"; done
    echo 4 >"$work/rsync/new/$id/info"
    mv "$work/rsync/new/$id" "$from/download/$id"
    old=$((id - 5))
    [ ! -e "$from/download/$old" ] || mv "$from/download/$old" "$work/rsync/new/gone-$old"
    sleep 0.05
  done
) &
publisher=$!
pids+=("$publisher")
rounds=0
while kill -0 "$publisher" 2>/dev/null; do
  # 24: a package was withdrawn while it was read; the next round is without it.
  while read -r line; do bash -c "$line" >>"$work/rsync.log" 2>&1 || [ $? = 24 ]; done <<<"$commands"
  rounds=$((rounds + 1))
done
while read -r line; do bash -c "$line" >>"$work/rsync.log" 2>&1; done <<<"$commands"
sleep 1
: >"$work/rsync/stop"
wait "$reader"
check "rsync copied while packages came and went" test "$rounds" -ge 2
check "readers looked at the copy" matches "$(tail -n 1 "$work/rsync/seen")" '^seen [1-9][0-9]+$'
check "... and saw no info file without its fragments" equal "$(grep -v '^seen' "$work/rsync/seen" | head -n 3)" ""
check "in the end the copy is like its source" diff -r "$from/download" "$to/download"
summary
