#!/bin/bash
# Slow readers of large fragments over plain HTTP: what they cost dripfeed and Debian's nginx, in memory.
#
#   benches/slow.sh [READERS] [SECONDS]
#
# Needs python3 and nginx (apt-get install nginx-light), root for the kernel's tables, and a release build. Each reader asks for
# 10 MiB and takes about 0.3 MB a second. Told are the server's own memory (its anonymous pages), what the kernel's tables of socket
# buffers grew by, and what it charges to TCP: that counts bytes of files as well, which lie in the page cache in any case.
set -euo pipefail
readers=${1:-512} seconds=${2:-10}
cd "$(dirname "$0")/.."
for tool in nginx python3 curl; do
  command -v "$tool" >/dev/null || { echo "benches/slow.sh needs $tool: apt-get install nginx-light python3 curl" >&2; exit 2; }
done
[ -n "${DRIPFEED:-}" ] || cargo build --release --bin dripfeed
dripfeed=${DRIPFEED:-${CARGO_TARGET_DIR:-$PWD/target}/release/dripfeed}
work=$(mktemp -d)
server='' nginx=''
trap 'kill $server $nginx 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
head -c $((20 << 20)) /dev/urandom >"$work/large.bin"
tar -C "$work" -czf "$work/large.tar.gz" large.bin
id=$("$dripfeed" package build "$work/large.tar.gz" --data-dir "$work/data" --name large --version 1 --os linux --action store \
  --path /tmp --fragment-size 10M 2>/dev/null)
"$dripfeed" serve --data-dir "$work/data" --http 127.0.0.1:0 --https 127.0.0.1:0 >/dev/null 2>"$work/server.log" &
server=$!
until [ -s "$work/data/addresses.json" ]; do kill -0 $server; sleep 0.1; done
ours=$(sed -n 's/.*"http": *"\([^"]*\)".*/\1/p' "$work/data/addresses.json")
port=$((20000 + RANDOM % 20000))
cat >"$work/nginx.conf" <<CONF
$([ "$(id -u)" != 0 ] || echo 'user root;')
worker_processes 2; pid $work/nginx.pid; error_log $work/nginx.log; daemon off;
events { worker_connections 4096; }
http { access_log off; sendfile on; tcp_nopush on; open_file_cache max=2000;
  client_body_temp_path $work/b; proxy_temp_path $work/p; fastcgi_temp_path $work/f; uwsgi_temp_path $work/u; scgi_temp_path $work/s;
  server { listen 127.0.0.1:$port; location /download/ { alias $work/data/download/; } } }
CONF
nginx -p "$work" -e "$work/nginx.log" -c "$work/nginx.conf" &
nginx=$!
until curl -so /dev/null "http://127.0.0.1:$port/"; do kill -0 $nginx; sleep 0.1; done

cat >"$work/slow.py" <<'PY'
import os, re, resource, socket, sys, time
name, address, pid, path, readers, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5]), float(sys.argv[6])
limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

def anonymous():
    of = [pid] + [int(child) for task in os.listdir(f"/proc/{pid}/task") for child in open(f"/proc/{pid}/task/{task}/children").read().split()]
    return sum(int(re.search(r"RssAnon:\s+(\d+)", open(f"/proc/{one}/status").read()).group(1)) for one in of) / 1024

def charged():
    return int(re.search(r"^TCP:.* mem (\d+)", open("/proc/net/sockstat").read(), re.M).group(1)) * 4 / 1024

def buffers():
    total = 0
    for line in open("/proc/slabinfo"):
        part = line.split()
        if part[0].startswith("skbuff") or part[0] in ("TCP", "request_sock_TCP"):
            total += int(part[1]) * int(part[3])
    return total / 1048576

before = (anonymous(), charged(), buffers())
host, port = address.rsplit(":", 1)
links = []
for _ in range(readers):
    link = socket.create_connection((host, int(port)))
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    link.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    links.append(link)
most = before
total, end = 0, time.monotonic() + seconds
while time.monotonic() < end:
    began = time.monotonic()
    for link in links:
        data = link.recv(16384)
        assert data, "a slow reader was dropped"
        total += len(data)
    most = tuple(map(max, most, (anonymous(), charged(), buffers())))
    time.sleep(max(0, 0.05 - (time.monotonic() - began)))
print("%-9s %12.1f %16.1f %14.1f %12.2f" % (name, most[0], most[2] - before[2], most[1] - before[1], total / readers / seconds / 1e6))
PY
printf '%-9s %12s %16s %14s %12s\n' server 'own MiB' 'buffers +MiB' 'charged +MiB' 'MB/s each'
for _ in 1 2; do
  python3 "$work/slow.py" nginx "127.0.0.1:$port" $nginx "/download/$id/$id-1" "$readers" "$seconds"
  python3 "$work/slow.py" dripfeed "$ours" $server "/download/$id/$id-1" "$readers" "$seconds"
done
