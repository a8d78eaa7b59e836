#!/bin/bash
# The morning: a fleet that is switched on together, and check-ins while fragments are fetched.
#
#   benches/storm.sh [COMPUTERS] [SECONDS] [RATE]         default: 2000 computers within 20 seconds; 200 prologs a second
#
# What is held in the design: benches/storm.sh 100000 300 1000. Needs a release build with the examples fleet, fill and readers.
# First, each computer comes once within that time, over a TLS connection of its own, full handshake included. Then prologs come
# at a steady rate, alone and while 16 connections fetch fragments of 1 MiB as fast as a core serves them, in turns. The readers
# stand for machines elsewhere: what they receive is thrown away by the kernel (examples/readers.rs).
set -euo pipefail
computers=${1:-2000} seconds=${2:-20} rate=${3:-200}
cd "$(dirname "$0")/.."
. benches/lib.sh
readers=${READERS:-$target/examples/readers}
need "$dripfeed" "$fleet" "$fill" "$readers"
work=$(mktemp -d)
reading=''
trap 'kill $reading $server 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
about benches/storm.sh "$computers" "$seconds" "$rate"

"$fill" --data-dir "$work/data" --computers "$computers" --jobs 5 >/dev/null
head -c 16M /dev/urandom >"$work/large"
id=$("$dripfeed" package build "$work/large" --data-dir "$work/data" --name large --version 1 --os linux --action store \
  --path /opt/large 2>/dev/null)
serve "$work/data"
load=("$fleet" --server-pid "$server" --what prolog --agents "$computers" --read-every 16)
"${load[@]}" --server "https://$https/ocsinventory" --ca "$work/data/certs/ca.pem" --arrive "storm:$seconds"

span=10
steady=("${load[@]}" --server "http://$http/ocsinventory" --connections kept --arrive "steady:$rate" --seconds "$span"
  --rounds $((rate * span / computers + 1)) --json)
"${steady[@]}" >/dev/null
printf '\nprologs at %s a second   %12s %12s %16s\n' "$rate" p50 p99 "server CPU"
for round in 1 2 3; do
  for case in alone "beside fragments"; do
    if [ "$case" != alone ]; then
      "$readers" --server "$http" --package "$id" --files 16 --seconds $((span + 4)) >"$work/read" &
      reading=$!
      sleep 2
    fi
    "${steady[@]}" >"$work/figures.json" || { echo "some prologs failed:" >&2; cat "$work/figures.json" >&2; exit 1; }
    of() { json "$@" <"$work/figures.json"; }
    printf '  %-22s %9.1f ms %9.1f ms %14.2f s' "$case" "$(of requests prolog p50_us)e-3" "$(of requests prolog p99_us)e-3" \
      "$(of server cpu_seconds)"
    if [ "$case" != alone ]; then
      wait "$reading"
      reading=''
      printf '   %s of fragments' "$(sed 's/.*, //' "$work/read")"
    fi
    echo
  done
done
