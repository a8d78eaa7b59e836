#!/bin/bash
# Fragments over plain HTTP: dripfeed beside Debian's nginx with sendfile, alternating, as ratios.
#
#   benches/serve.sh [SECONDS_PER_RUN] [ROUNDS]
#   CONGESTION=reno benches/serve.sh …            in a network namespace with that congestion control (root, iproute2)
#   OURS=system benches/serve.sh …                with that as our tcp.congestion instead of auto; nginx has no such setting
#
# Needs nginx (apt-get install nginx-light) and a release build with the example readers. Both serve the very same files and write
# a line of access log a request. The server has one core and the readers the other when there are at least two. Two kinds of
# readers: those that copy what comes, as every program does, of which the reader's core is the limit; and those that have the
# kernel throw it away, which stand for machines elsewhere, of which the server's core is.
#
# The kernel's congestion control decides more than either server: BBR paces what is sent with a timer for each piece, and in a
# virtual machine a timer is an exit. Reno and cubic do not pace. The figures of one are nothing beside those of the other. Ours
# serves readers that are near without BBR's timers unless it is told otherwise.
set -euo pipefail
seconds=${1:-5} rounds=${2:-3}
cd "$(dirname "$0")/.."
. benches/lib.sh
if [ -n "${CONGESTION:-}" ] && [ -z "${IN_NAMESPACE:-}" ]; then
  namespace=dripfeed-serve-$$
  ip netns add "$namespace"
  trap 'ip netns del "$namespace"' EXIT
  ip -n "$namespace" link set lo up
  ip netns exec "$namespace" sysctl -q "net.ipv4.tcp_congestion_control=$CONGESTION"
  IN_NAMESPACE=1 ip netns exec "$namespace" "$0" "$@"
  exit
fi
readers=${READERS:-$target/examples/readers}
need "$dripfeed" "$readers" nginx curl taskset
work=$(mktemp -d)
nginx=''
trap 'kill $server $nginx 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
if [ "$(nproc)" -ge 2 ]; then left='taskset -c 0' right='taskset -c 1'; else left='' right=''; fi
about benches/serve.sh "$seconds" "$rounds"
sockets=$(sysctl -n net.ipv4.tcp_congestion_control)
printf 'sockets  %s, ours %s\n\n' "$sockets" "${OURS:-auto}"

# One package a size: 1000 files of 1 MiB are more than most processors' caches hold; one hot file of each other size.
build() { # name, fragment size, total bytes
  head -c "$3" /dev/urandom >"$work/$1.bin"
  tar -C "$work" -cf - "$1.bin" | gzip -1 >"$work/$1.tar.gz"
  "$dripfeed" package build "$work/$1.tar.gz" --data-dir "$work/data" --name "$1" --version 1 --os linux --action store \
    --path /tmp --fragment-size "$2" 2>/dev/null
  rm "$work/$1.bin" "$work/$1.tar.gz"
}
small=$(build small 64K $((256 << 10)))
middle=$(build middle 1M $((1000 << 20)))
large=$(build large 10M $((20 << 20)))

printf '[log]\nlevel = "info"\n' >"$work/data/dripfeed.toml"
[ -z "${OURS:-}" ] || printf '[tcp]\ncongestion = "%s"\n' "$OURS" >>"$work/data/dripfeed.toml"
[ -z "$left" ] || under=(taskset -c 0)
serve "$work/data" 2>"$work/server.log"

port=$((20000 + RANDOM % 20000))
cat >"$work/nginx.conf" <<CONF
$([ "$(id -u)" != 0 ] || echo 'user root;')
worker_processes 2; pid $work/nginx.pid; error_log $work/nginx.log; daemon off;
events { worker_connections 1024; }
http { access_log $work/nginx-access.log; sendfile on; tcp_nopush on; keepalive_requests 1000000; open_file_cache max=2000;
  client_body_temp_path $work/b; proxy_temp_path $work/p; fastcgi_temp_path $work/f; uwsgi_temp_path $work/u; scgi_temp_path $work/s;
  server { listen 127.0.0.1:$port; location /download/ { alias $work/data/download/; } } }
CONF
$left nginx -p "$work" -e "$work/nginx.log" -c "$work/nginx.conf" &
nginx=$!
theirs=127.0.0.1:$port
until curl -so /dev/null "http://$theirs/"; do kill -0 $nginx; sleep 0.1; done

ticks() { # of a process and its children
  cat /proc/"$1"/stat $(for c in $(cat /proc/"$1"/task/*/children); do echo /proc/"$c"/stat; done) 2>/dev/null | awk '{ t += $14 + $15 } END { print t }'
}
run() { # address, process, package, files, option → answers/s, CPU milliseconds a GiB (of 100 Hz ticks)
  local before after out
  before=$(ticks "$2")
  out=$($right "$readers" --server "$1" --package "$3" --files "$4" --seconds "$seconds" ${5:+"$5"})
  after=$(ticks "$2")
  awk -v cpu=$((after - before)) -v s="$seconds" '{ printf "%.1f %.0f\n", $1, cpu * 10 / ($3 * s * 1e9 / 1073741824) }' <<<"$out"
}
printf '%-8s %-12s %6s %14s %14s %8s %14s %14s %8s\n' size readers round 'nginx /s' 'ours /s' ratio 'nginx ms/GiB' 'ours ms/GiB' ratio
for round in $(seq "$rounds"); do
  for case in "64KiB $small 4" "1MiB $middle 1000" "10MiB $large 2"; do
    read -r name id files <<<"$case"
    for option in --copy ''; do
      # By way of variables, so that a failed run ends the script.
      baseline=$(run "$theirs" $nginx "$id" "$files" "$option")
      result=$(run "$http" "$server" "$id" "$files" "$option")
      read -r a b <<<"$baseline"
      read -r c d <<<"$result"
      awk -v n="$name" -v w="${option:+copy}" -v r="$round" -v a="$a" -v b="$b" -v c="$c" -v d="$d" 'BEGIN {
        printf "%-8s %-12s %6d %14.1f %14.1f %8.2f %14.0f %14.0f %8.2f\n", n, w ? w : "elsewhere", r, a, c, c / a, b, d, d / b }'
    done
  done
done
