#!/bin/bash
# What a deployment costs the computer that it reaches.
#
#   benches/agent-deploy.sh [MIB] [ROUNDS]
#
# 1. 50 MiB in 50 fragments, without latencies, over HTTP: our agent beside Debian's Perl agent, against our own server.
# 2. MIB (1024) of fragments that are there: put together, verified and unpacked by our agent, which also checks in and reports,
#    beside `cat`, `md5sum` and `tar xz`. In turns, ROUNDS (3) times each; the ratios are those of the medians.
#
# Needs root, python3, Debian's ocsinventory-agent (tests/interop/stock-agent.sh installs it), four times MIB in $TMPDIR and a release
# build (DRIPFEED and AGENT name other programs).
set -euo pipefail
mib=${1:-1024} rounds=${2:-3}
cd "$(dirname "$0")/.."
dripfeed=${DRIPFEED:-${CARGO_TARGET_DIR:-$PWD/target}/release/dripfeed}
agent=${AGENT:-${dripfeed%/*}/dripfeed-agent}
command -v ocsinventory-agent >/dev/null || { echo "benches/agent-deploy.sh needs ocsinventory-agent" >&2; exit 2; }
work=$(mktemp -d)
server=''
trap 'kill $server 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
mkdir "$work/data" "$work/fifty" "$work/large"
cat >"$work/data/dripfeed.toml" <<'TOML'
[log]
level = "error"
[settings]
DOWNLOAD = 1
FREQUENCY = 1
DOWNLOAD_FRAG_LATENCY = 0
DOWNLOAD_CYCLE_LATENCY = 0
DOWNLOAD_PERIOD_LATENCY = 0
TOML
"$dripfeed" serve --data-dir "$work/data" --http 127.0.0.1:0 --https 127.0.0.1:0 >/dev/null &
server=$!
until [ -s "$work/data/addresses.json" ]; do kill -0 $server; sleep 0.1; done
port() { sed -n "s/.*\"$1\": *\"127.0.0.1:\([0-9]*\)\".*/\1/p" "$work/data/addresses.json"; }
http=$(port http) https=$(port https)
url=https://localhost:$https/ocsinventory ca=$work/data/certs/ca.pem
verb() { "$dripfeed" --data-dir "$work/data" "$@"; }
build() { # build SOURCE NAME FRAGMENTS: prints the id
  verb package build "$1" --name "$2" --version 1 --os linux --action execute --command true --priority 1 --fragments "$3" 2>/dev/null
}
# What does not compress: as installers are.
head -c $((50 << 20)) /dev/urandom >"$work/fifty/data"
tar -C "$work/fifty" -czf "$work/fifty.tar.gz" data
for ((n = 0; n < 16; n++)); do head -c $((mib << 16)) /dev/urandom >"$work/large/part$n"; done
tar -C "$work/large" -c . | gzip -1 >"$work/large.tar.gz"
rm -rf "$work/large" "$work/fifty"
large=$(build "$work/large.tar.gz" large "$mib")
python3 - "$work" "$rounds" "$agent" "$url" "$ca" "$http" "$https" "$dripfeed" "$large" "$mib" <<'PY'
import json, os, shutil, statistics, subprocess, sys, time
sys.path.insert(0, "benches")
from cost import cost
work, rounds, agent, url, ca, http, https, dripfeed, large, mib = sys.argv[1:]
rounds, mib = int(rounds), int(mib)
def verb(*words):
    return subprocess.run([dripfeed, "--data-dir", f"{work}/data", *words], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout.strip()
def table(title, seen, with_memory=True):
    median = {name: [statistics.median(column) for column in zip(*rows)] for name, rows in seen.items()}
    print(title)
    for name, (cpu, memory, wall) in median.items():
        print(f"  {name:6} {cpu:7.3f} s CPU  {memory:7.1f} MiB  {wall:7.3f} s" if with_memory or name == "ours" else f"  {name:6} {cpu:7.3f} s CPU               {wall:7.3f} s")
    ours, other = median["ours"], next(row for name, row in median.items() if name != "ours")
    print("  ours / theirs: %.2f x CPU, %.2f x time" % (ours[0] / other[0], ours[2] / other[2]) + (", %.2f x memory" % (ours[1] / other[1]) if with_memory else ""))
commands = {
    "stock": ["ocsinventory-agent", "--nolocal", f"--server={url}", f"--ca={ca}", f"--basevardir={work}/stock"],
    "ours": [agent, "once", "--server", url, "--ca", ca, "--data-dir", f"{work}/ours", "-q"],
}
known, seen = set(), {name: [] for name in commands}
for name, command in commands.items():
    os.makedirs(f"{work}/{name}", exist_ok=True)
    cost(command)  # the server gets to know it
    everybody = {computer["device_id"] for computer in json.loads(verb("computer", "list", "--json"))}
    (device,) = everybody - known
    known = everybody
    for n in range(rounds):
        package = verb("package", "build", f"{work}/fifty.tar.gz", "--name", f"fifty-{name}-{n}", "--version", "1", "--os", "linux",
                       "--action", "execute", "--command", "true", "--priority", "1", "--fragments", "50")
        verb("activate", package, "--no-check", "--info-location", f"localhost:{https}/download", "--fragment-location", f"localhost:{http}/download")
        verb("assign", package, "--computer", device)
        seen[name].append(cost(command))
        assert "SUCCESS" in verb("status", package), verb("status", package)
table("50 MiB in 50 fragments: check-in, download, verify, unpack, execute, report", seen)

# The agent takes a work directory over in which every fragment is there.
state = next(entry.path for entry in os.scandir(f"{work}/ours") if entry.is_dir())
tree, there = f"{work}/data/download/{large}", f"{state}/download/{large}"
fragments = [f"{tree}/{large}-{n}" for n in range(1, mib + 1)]
offer = f'<PARAM TYPE="PACK" ID="{large}" INFO_LOC="localhost:{https}/download" PACK_LOC="localhost:{http}/download" SCHEDULE="" POSTCMD="" FORCE="1" />\n'
def arrange():
    shutil.copytree(tree, there, copy_function=os.link)
    for name, text in {"task": "", "task_done": "", "offer": offer, "since": str(int(time.time()))}.items():
        with open(f"{there}/{name}", "w") as file:
            file.write(text)
def theirs():
    directory = f"{work}/theirs"
    os.mkdir(directory)
    with open(f"{work}/list", "w") as file:
        file.write("\n".join(fragments))
    script = f"cd {directory} && xargs cat <{work}/list >archive && md5sum archive && tar xzf archive && rm archive"
    row = cost(["sh", "-c", script])
    shutil.rmtree(directory)
    return row
seen = {"theirs": [], "ours": []}
for _ in range(rounds):
    seen["theirs"].append(theirs())
    arrange()
    seen["ours"].append(cost(commands["ours"]))
    assert not os.path.exists(there), "the agent did not finish it"
    with open(f"{state}/download/history") as history:
        assert large in history.read().split(), "it was not executed with success"
table(f"{mib} MiB in {mib} fragments: put together, verified, unpacked", seen, with_memory=False)
PY
