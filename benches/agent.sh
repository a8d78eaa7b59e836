#!/bin/bash
# One check-in with an inventory: our agent beside Debian's Perl agent, against our own server, in turns.
#
#   benches/agent.sh [ROUNDS]
#
# Needs root, python3, Debian's ocsinventory-agent with its recommended modules (tests/interop/stock-agent.sh installs them) and a
# release build; the agent itself is better measured from `cargo agent` (AGENT=target/small/dripfeed-agent). Prints CPU seconds, the
# largest resident memory and wall time of each, and the ratios of the medians.
set -euo pipefail
rounds=${1:-5}
cd "$(dirname "$0")/.."
dripfeed=${DRIPFEED:-${CARGO_TARGET_DIR:-$PWD/target}/release/dripfeed}
agent=${AGENT:-${dripfeed%/*}/dripfeed-agent}
command -v ocsinventory-agent >/dev/null || { echo "benches/agent.sh needs ocsinventory-agent" >&2; exit 2; }
work=$(mktemp -d)
server=''
trap 'kill $server 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
mkdir "$work/data" "$work/stock" "$work/ours"
printf '[log]\nlevel = "error"\n[settings]\nFREQUENCY = 0\n' >"$work/data/dripfeed.toml"
"$dripfeed" serve --data-dir "$work/data" --http 127.0.0.1:0 --https 127.0.0.1:0 >/dev/null &
server=$!
until [ -s "$work/data/addresses.json" ]; do kill -0 $server; sleep 0.1; done
https=$(sed -n 's/.*"https": *"127.0.0.1:\([0-9]*\)".*/\1/p' "$work/data/addresses.json")
url=https://localhost:$https/ocsinventory ca=$work/data/certs/ca.pem
python3 - "$rounds" "$work" "$agent" "$url" "$ca" <<'PY'
import os, statistics, sys
sys.path.insert(0, "benches")
from cost import cost
rounds, work, agent, url, ca = int(sys.argv[1]), *sys.argv[2:]
commands = {
    "stock": ["ocsinventory-agent", "--nolocal", f"--server={url}", f"--ca={ca}", f"--basevardir={work}/stock"],
    "ours": [agent, "once", "--server", url, "--ca", ca, "--data-dir", f"{work}/ours", "-q"],
}
seen = {name: [] for name in commands}
for _ in range(rounds):
    for name, command in commands.items():
        seen[name].append(cost(command))
median = {name: [statistics.median(column) for column in zip(*rows)] for name, rows in seen.items()}
for name, (cpu, memory, wall) in median.items():
    print(f"{name:6} {cpu:7.3f} s CPU  {memory:7.1f} MiB  {wall:7.3f} s")
print("stock / ours: %.0f x CPU, %.1f x memory, %.0f x time" % tuple(a / b for a, b in zip(median["stock"], median["ours"])))
PY
