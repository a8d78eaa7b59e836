#!/bin/bash
# Check-ins: how many a second the server answers, each durable before it is answered.
#
#   benches/prolog.sh [SECONDS] [COMPUTERS] [CONNECTIONS]
#
# Needs wrk, python3 and a release build. Registers that many computers over the real wire, gives each an open job, then sends
# their prologs over HTTP with keep-alive. Server and wrk share the machine, so the figure is a floor. The stock OCS server beside
# it: bring one up (tests/interop/stock-server.sh shows how) and name it with STOCK=http://127.0.0.1:PORT/ocsinventory; both are
# then asked in turns.
set -euo pipefail
seconds=${1:-10} computers=${2:-1000} connections=${3:-64}
cd "$(dirname "$0")/.."
for tool in wrk python3 curl; do
  command -v "$tool" >/dev/null || { echo "benches/prolog.sh needs $tool" >&2; exit 2; }
done
dripfeed=${DRIPFEED:-${CARGO_TARGET_DIR:-$PWD/target}/release/dripfeed}
[ -x "$dripfeed" ] || { echo "build it first: cargo build --release" >&2; exit 2; }
work=$(mktemp -d)
server=''
trap 'kill $server 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT

mkdir "$work/data"
printf '[log]\nlevel = "error"\n' >"$work/data/dripfeed.toml"
"$dripfeed" serve --data-dir "$work/data" --http 127.0.0.1:0 --https 127.0.0.1:0 >/dev/null &
server=$!
until [ -s "$work/data/addresses.json" ]; do kill -0 $server; sleep 0.1; done
ours=http://$(sed -n 's/.*"http": *"\([^"]*\)".*/\1/p' "$work/data/addresses.json")/ocsinventory

python3 - "$work" "$ours" "$computers" <<'PY'
import sys, zlib, http.client, urllib.parse
work, url, count = sys.argv[1], urllib.parse.urlparse(sys.argv[2]), int(sys.argv[3])
link = http.client.HTTPConnection(url.hostname, url.port)
for n in range(count):
    name = f"bench{n:06d}-2026-01-02-03-04-05"
    body = (f"<REQUEST><CONTENT><HARDWARE><NAME>bench{n:06d}</NAME><OSNAME>Debian GNU/Linux 12</OSNAME></HARDWARE></CONTENT>"
            f"<DEVICEID>{name}</DEVICEID><QUERY>INVENTORY</QUERY></REQUEST>")
    link.request("POST", url.path, zlib.compress(body.encode()), {"User-Agent": "OCS-NG_unified_unix_agent_v2.10.0"})
    answer = link.getresponse(); answer.read()
    assert answer.status == 200, answer.status
    prolog = f'<?xml version="1.0" encoding="UTF-8"?>\n<REQUEST>\n  <DEVICEID>{name}</DEVICEID>\n  <QUERY>PROLOG</QUERY>\n</REQUEST>\n'
    open(f"{work}/{n}", "wb").write(zlib.compress(prolog.encode()))
PY
id=$("$dripfeed" package build --data-dir "$work/data" --name bench --version 1 --os linux --action execute --command true 2>/dev/null)
"$dripfeed" activate "$id" --data-dir "$work/data" >/dev/null
"$dripfeed" assign "$id" --all --data-dir "$work/data"

cat >"$work/prologs.lua" <<'LUA'
local bodies, at = {}, 0
function init(args)
  for n = 0, tonumber(args[2]) - 1 do
    local file = io.open(args[1] .. "/" .. n, "rb")
    bodies[#bodies + 1] = file:read("*a")
    file:close()
  end
  math.randomseed(os.time())
  at = math.random(#bodies)
end
local headers = { ["Content-Type"] = "application/x-compress", ["User-Agent"] = "OCS-NG_unified_unix_agent_v2.10.0" }
function request()
  at = at % #bodies + 1
  return wrk.format("POST", nil, headers, bodies[at])
end
LUA
ask() { # name, address
  printf '%-9s' "$1"
  wrk -t1 -c"$connections" -d"${seconds}s" --latency -s "$work/prologs.lua" "$2" -- "$work" "$computers" |
    awk '/50%|99%/ { printf "  %s %s", $1, $2 } /Requests\/sec/ { printf "  %s requests/s", $2 } /Non-2xx/ { printf "  %s", $0 } END { print "" }'
}
ticks() { awk '{ print $14 + $15 }' /proc/$server/stat; }
for round in 1 2 3; do
  before=$(ticks)
  ask dripfeed "$ours"
  printf '           %s ms of CPU\n' $(( ($(ticks) - before) * 10 ))
  [ -z "${STOCK:-}" ] || ask stock "$STOCK"
done
