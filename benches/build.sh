#!/bin/sh
# Times the build of a package (fragments of 1 MiB, MD5, SHA-256, SHA-256 of every fragment) against
# `split -b 1M -d && md5sum` (fragments and MD5 alone), alternating, on the same file.
#
#   benches/build.sh [MIB] [ROUNDS] [DIRECTORY]        default: 1024 MiB, 5 rounds, a temporary directory
#
# Needs coreutils. Prints seconds of every round and the ratio of the medians; below 1 we are faster.
set -eu

mib=${1:-1024}
rounds=${2:-5}
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
cargo build --release --quiet --no-default-features --example split_archive
ours=${CARGO_TARGET_DIR:-target}/release/examples/split_archive

work=$(mktemp -d "${3:-${TMPDIR:-/tmp}}/build-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM
head -c "${mib}M" /dev/urandom >"$work/input"
sync

now() { date +%s%N; }

# clear: both start without fragments and without another's bytes waiting to be written
clear() {
    rm -rf "$work/out"
    mkdir "$work/out"
    sync
}

stock() {
    clear
    start=$(now)
    split -b 1M -d -a 5 "$work/input" "$work/out/1-"
    md5sum "$work/input" >"$work/stock.md5"
    end=$(now)
    echo $(((end - start) / 1000000))
}

build() {
    clear
    start=$(now)
    "$ours" "$work/input" "$work/out" 1 1M --fragments-only >"$work/ours.txt"
    end=$(now)
    echo $(((end - start) / 1000000))
}

median() { sort -n "$1" | sed -n "$(((rounds + 1) / 2))p"; }

stock >/dev/null # both have seen the file once
: >"$work/a"
: >"$work/b"
round=1
while [ "$round" -le "$rounds" ]; do
    stock | tee -a "$work/a" | sed "s/^/round $round  split && md5sum  ms /"
    build | tee -a "$work/b" | sed "s/^/round $round  dripfeed         ms /"
    round=$((round + 1))
done

# The same bytes, or the figures mean nothing.
expected=$(cut -d' ' -f1 "$work/stock.md5")
grep -q "^md5 *$expected\$" "$work/ours.txt" || { echo "the digests differ" >&2; exit 1; }

awk -v a="$(median "$work/a")" -v b="$(median "$work/b")" -v mib="$mib" 'BEGIN {
    printf "median  split && md5sum %.2f s (%.0f MB/s)   dripfeed %.2f s (%.0f MB/s)   ratio %.2f\n",
        a / 1000, mib * 1048.576 / a, b / 1000, mib * 1048.576 / b, b / a
}'
