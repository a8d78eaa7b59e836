#!/bin/bash
# Prologs at a steady rate, for as long as is asked, of a large fleet with open jobs: latencies, CPU and memory.
#
#   [CONNECTIONS=new] [FIRST=RATE] benches/sustained.sh [MINUTES] [COMPUTERS] [JOBS] [RATE]      default: 1 minute, 5000 computers, 20 jobs each, 500 a second
#
# What is held in the design: benches/sustained.sh 10 100000 20 1000. Needs a release build with the examples fleet and fill.
# Latencies count from the moment at which a prolog was due. The simulator shares the machine with the server. The first contact of
# each computer, in which all its jobs are offered, is dearer and told for itself; the time that was asked for comes after it. A
# machine that cannot take first contacts at that rate is given FIRST, a lower one for them.
set -euo pipefail
minutes=${1:-1} computers=${2:-5000} jobs=${3:-20} rate=${4:-500}
cd "$(dirname "$0")/.."
. benches/lib.sh
need "$dripfeed" "$fleet" "$fill"
work=$(mktemp -d)
trap 'kill $server 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
about benches/sustained.sh "$minutes" "$computers" "$jobs" "$rate"

"$fill" --data-dir "$work/data" --computers "$computers" --jobs "$jobs"
printf 'database   %s MiB\n\n' $(($(du -k "$work/data/dripfeed.db" | cut -f1) / 1024))
serve "$work/data"
seconds=$((minutes * 60))
load=("$fleet" --server "http://$http/ocsinventory" --server-pid "$server" --what prolog --agents "$computers" --connections "${CONNECTIONS:-kept}"
  --read-every 16)
echo "Each computer's first contact: its $jobs jobs become offered"
"${load[@]}" --arrive "steady:${FIRST:-$rate}" --rounds 1
printf '\n%s minutes: jobs that are open and offered\n' "$minutes"
"${load[@]}" --arrive "steady:$rate" --rounds $((rate * seconds / computers + 1)) --seconds "$seconds"
