#!/bin/bash
# A mirror: the first sync of a tree, a sync that finds nothing new, and one changed package beside rsync.
#
#   benches/mirror.sh [PACKAGES] [FRAGMENTS] [MIB] [ROUNDS]      default: 500 packages of 50 fragments; a changed one of 256 MiB
#
# What is held in the design: benches/mirror.sh 10000 100 512 3. Needs rsync, a release build and the example fill. The tree lies
# below TMPDIR twice: a directory in memory (TMPDIR=/dev/shm) leaves the disk out of the figures, which for a million files is most.
# rsync comes from a daemon on the same loopback, over plain TCP, without compression, into an empty directory, and writes
# without fsync; the mirror hashes what comes, writes each fragment durably, and shows the package only when it is whole.
set -euo pipefail
packages=${1:-500} fragments=${2:-50} mib=${3:-256} rounds=${4:-3}
cd "$(dirname "$0")/.."
. benches/lib.sh
mirror=${MIRROR:-$target/dripfeed-mirror}
need "$dripfeed" "$mirror" "$fill" rsync curl
work=$(mktemp -d)
daemon=''
trap 'kill $server $daemon 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT
about benches/mirror.sh "$packages" "$fragments" "$mib" "$rounds"

"$fill" --data-dir "$work/data" --computers 1 --jobs 0 --titles 0 --published "$packages" --fragments "$fragments"
serve "$work/data"
source=https://$https/download
sync=("$mirror" sync --from "$source" --to "$work/mirror" --ca "$work/data/certs/ca.pem" --json)
now() { date +%s.%N; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.3f", b - a }'; }
asked() { # requests but this one, bytes of the tree: since the server's start
  curl -s "http://$http/metrics" | awk '/^dripfeed_requests_total/ { n += $NF } /^dripfeed_tree_sent_bytes_total/ { b += $NF }
    END { print n + 0, b + 0 }'
}

began=$(now)
first=$("${sync[@]}")
printf 'first sync        %8s s   %s packages, %s MiB\n' "$(since "$began")" "$(json fetched <<<"$first")" \
  $(($(json bytes <<<"$first") / 1048576))
for ((round = 1; round <= rounds; round++)); do
  read -r requests bytes < <(asked)
  began=$(now)
  same=$("${sync[@]}")
  took=$(since "$began")
  read -r requests_now bytes_now < <(asked)
  [ "$(json unchanged <<<"$same")" = 1 ] || { echo "something changed: $same" >&2; exit 1; }
  printf 'nothing new       %8s s   %s request, %s bytes of body\n' "$took" $((requests_now - requests - 1)) $((bytes_now - bytes))
done

port=$((20000 + RANDOM % 20000))
printf 'port = %s\naddress = 127.0.0.1\nuse chroot = no\n[tree]\npath = %s\n' "$port" "$work/data/download" >"$work/rsyncd.conf"
rsync --daemon --no-detach --config="$work/rsyncd.conf" >/dev/null 2>&1 &
daemon=$!
until rsync "rsync://127.0.0.1:$port/" >/dev/null 2>&1; do kill -0 "$daemon"; sleep 0.1; done
printf '\none package of %s MiB in fragments of 1 MiB: ours over HTTP with TLS for its info file, rsync over TCP\n' "$mib"
for ((round = 1; round <= rounds; round++)); do
  head -c "${mib}M" /dev/urandom >"$work/large"
  id=$("$dripfeed" package build "$work/large" --data-dir "$work/data" --name "large $round" --version 1 --os linux --action store \
    --path /opt/large 2>/dev/null)
  "$dripfeed" activate "$id" --data-dir "$work/data" >/dev/null 2>&1
  began=$(now)
  changed=$("${sync[@]}")
  ours=$(since "$began")
  [ "$(json fetched <<<"$changed")" = 1 ] || { echo "not one package came: $changed" >&2; exit 1; }
  rm -rf "$work/rsync"
  mkdir "$work/rsync"
  began=$(now)
  rsync -a "rsync://127.0.0.1:$port/tree/$id" "$work/rsync/"
  theirs=$(since "$began")
  awk -v o="$ours" -v t="$theirs" -v m="$mib" -v r="$round" 'BEGIN {
    printf "round %s   ours %7.3f s (%5.0f MiB/s)   rsync %7.3f s (%5.0f MiB/s)   %.2f x rsync\n", r, o, m / o, t, m / t, t / o }'
  rm -f "$work/large"
done
