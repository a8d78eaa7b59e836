#!/bin/bash
# Fragments over plain HTTP: dripfeed beside Debian's nginx with sendfile, alternating, as ratios.
#
#   benches/serve.sh [SECONDS_PER_RUN] [ROUNDS]
#
# Needs wrk and nginx (apt-get install wrk nginx-light), and a release build. Both serve the very same files and write a line of
# access log a request, which is a quarter of our processor time for 64 KiB. The server has one core and wrk the other when
# there are at least two; on loopback much of the work is wrk's, so trust the ratios only.
set -euo pipefail
seconds=${1:-5} rounds=${2:-3}
cd "$(dirname "$0")/.."
for tool in wrk nginx curl taskset; do
  command -v "$tool" >/dev/null || { echo "benches/serve.sh needs $tool: apt-get install wrk nginx-light curl" >&2; exit 2; }
done
[ -n "${DRIPFEED:-}" ] || cargo build --release --bin dripfeed
dripfeed=${DRIPFEED:-${CARGO_TARGET_DIR:-$PWD/target}/release/dripfeed}
work=$(mktemp -d)
server='' nginx=''
trap 'kill $server $nginx 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
if [ "$(nproc)" -ge 2 ]; then left='taskset -c 0' right='taskset -c 1'; else left='' right=''; fi

# One package a size; 64 files of 1 MiB are more than a processor's cache holds, and one hot file of each other size.
build() { # name, fragment size, total bytes
  head -c "$3" /dev/urandom >"$work/$1.bin"
  tar -C "$work" -czf "$work/$1.tar.gz" "$1.bin"
  "$dripfeed" package build "$work/$1.tar.gz" --data-dir "$work/data" --name "$1" --version 1 --os linux --action store \
    --path /tmp --fragment-size "$2"
}
small=$(build small 64K $((256 << 10)))
middle=$(build middle 1M $((64 << 20)))
large=$(build large 10M $((20 << 20)))

$left "$dripfeed" serve --data-dir "$work/data" --http 127.0.0.1:0 --https 127.0.0.1:0 2>"$work/server.log" &
server=$!
until [ -s "$work/data/addresses.json" ]; do kill -0 $server; sleep 0.1; done
ours=$(sed -n 's/.*"http": *"\([^"]*\)".*/\1/p' "$work/data/addresses.json")

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

cat >"$work/files.lua" <<'LUA'
local id, count, n
function init(args) id, count, n = args[1], tonumber(args[2]), 0 end
function request() n = n % count + 1; return wrk.format("GET", "/download/" .. id .. "/" .. id .. "-" .. n) end
LUA
ticks() { # of a process and its children
  cat /proc/"$1"/stat $(for c in $(cat /proc/"$1"/task/*/children); do echo /proc/"$c"/stat; done) 2>/dev/null | awk '{ t += $14 + $15 } END { print t }'
}
run() { # address, process, id, files → requests/s, CPU milliseconds a GiB (of 100 Hz ticks)
  local before after out
  before=$(ticks "$2")
  out=$($right wrk -t1 -c16 -d"${seconds}s" -s "$work/files.lua" "http://$1/" -- "$3" "$4")
  after=$(ticks "$2")
  if grep -q 'Non-2xx' <<<"$out"; then echo "errors from $1:" >&2; echo "$out" >&2; exit 1; fi
  awk -v cpu=$((after - before)) '
    / requests in / { requests = $1 } /^Requests\/sec/ { rate = $2 }
    / read$/ { v = $(NF - 1); u = v; sub(/[0-9.]+/, "", u); gib = v + 0; if (u == "MB") gib /= 1024; if (u == "KB") gib /= 1048576; if (u == "TB") gib *= 1024 }
    END { printf "%.1f %.0f\n", rate, cpu * 10 / gib }' <<<"$out"
}
printf '%-8s %6s %14s %14s %8s %14s %14s %8s\n' size round 'nginx req/s' 'ours req/s' ratio 'nginx ms/GiB' 'ours ms/GiB' ratio
for round in $(seq "$rounds"); do
  for case in "64KiB $small 4" "1MiB $middle 64" "10MiB $large 2"; do
    read -r name id files <<<"$case"
    [ -e "$work/data/download/$id/$id-$files" ] || files=1
    # By way of variables, so that a failed run ends the script.
    baseline=$(run "$theirs" $nginx "$id" "$files")
    result=$(run "$ours" $server "$id" "$files")
    read -r a b <<<"$baseline"
    read -r c d <<<"$result"
    awk -v n="$name" -v r="$round" -v a="$a" -v b="$b" -v c="$c" -v d="$d" \
      'BEGIN { printf "%-8s %6d %14.1f %14.1f %8.2f %14.0f %14.0f %8.2f\n", n, r, a, c, c / a, b, d, d / b }'
  done
done
