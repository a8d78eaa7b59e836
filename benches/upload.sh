#!/bin/bash
# A large upload in constant memory: benches/upload.sh, with SIZE=5G (or 256M, …) and SMALL=50M
#
# One server, two uploads over HTTPS in pieces of the size that it asks for: a small one, then a large one. Of each, one
# connection is cut in the middle of a piece, and the upload goes on from where the server says. The last piece carries the
# file's SHA-256; a wrong one is refused first. Prints the server's greatest resident memory (VmHWM) after each upload,
# and fails unless the large one took at most SLACK (16M) more. Needs curl, twice SIZE on the disk of TMPDIR, and
# `cargo build --release`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=benches/lib.sh
source benches/lib.sh

bytes() { numfmt --from=iec "$1"; }
size=$(bytes "${SIZE:-5G}") small=$(bytes "${SMALL:-50M}") slack=$(bytes "${SLACK:-16M}")
need curl "$dripfeed"

directory=$(mktemp -d)
cutter=
finish() {
  local status=$?
  trap - EXIT
  [ -z "$cutter" ] || kill "$cutter" 2>/dev/null || true
  [ -z "$server" ] || { kill "$server" && wait "$server"; } 2>/dev/null || true
  rm -rf "$directory"
  exit "$status"
}
trap finish EXIT

die() { echo "FAILED: $*" >&2; exit 1; }

data=$directory/data
about "SIZE=${SIZE:-5G} SMALL=${SMALL:-50M} benches/upload.sh"
run() { "$dripfeed" "$@" --data-dir "$data"; }
printf 'a sentence to sign in with\n' | run user add bench --password-stdin >/dev/null
token=$(run token create bench --user bench --rights packages.build --days 1 --json | json secret)
[ -n "$token" ] || die "no token was made"
serve "$data"
printf 'header = "authorization: Bearer %s"\ncacert = "%s"\nsilent\nshow-error\n' "$token" "$data/certs/ca.pem" \
  >"$directory/curl"

# call ARGUMENT…: asks the API about uploads
call() { curl --config "$directory/curl" "$@"; }
uploads=https://$https/api/v1/uploads
mkfifo "$directory/pipe"

# about_upload ID FIELD
about_upload() { call --fail "$uploads/$1" | json "$2"; }

# piece FILE OFFSET LENGTH: those bytes of a file
piece() { dd if="$1" bs=1M iflag=skip_bytes,count_bytes skip="$2" count="$3" status=none; }

# add ID FILE OFFSET LENGTH [CURL ARGUMENT…]: sends a piece, prints the status
add() {
  piece "$2" "$3" "$4" | call --request PATCH --header 'content-type: application/octet-stream' \
    --header "upload-offset: $3" "${@:5}" --data-binary @- --output /dev/null --write-out '%{http_code}' "$uploads/$1"
}

# break_off ID FILE OFFSET LENGTH: announces a piece, sends half of it, and breaks the connection when the server has some
break_off() {
  local half=$(($4 / 2)) file tries=600
  # Held open at both ends: curl waits for the rest, which does not come.
  exec 9<>"$directory/pipe"
  curl --config "$directory/curl" --request PATCH --header 'content-type: application/octet-stream' \
    --header "upload-offset: $3" --header "content-length: $4" --header 'transfer-encoding:' --header 'expect:' \
    --upload-file - --output /dev/null "$uploads/$1" <"$directory/pipe" 2>/dev/null &
  cutter=$!
  piece "$2" "$3" "$half" >&9
  file=$(find "$data" -type f -name "*$1*" | head -n 1)
  [ -n "$file" ] || die "the upload's file is not in the data directory"
  until [ "$(stat --format %s "$file")" -gt "$3" ]; do
    [ $((tries -= 1)) -gt 0 ] || die "nothing of the piece came within a minute"
    sleep 0.1
  done
  kill -KILL "$cutter"
  wait "$cutter" 2>/dev/null || true
  cutter=
  exec 9>&-
  tries=600
  until [ "$(about_upload "$1" offset)" -gt "$3" ]; do
    [ $((tries -= 1)) -gt 0 ] || die "what came before the cut was not kept"
    sleep 0.1
  done
}

# peak: the most memory that the server had so far, in bytes
peak() { echo $(($(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$server/status") * 1024)); }

# upload BYTES: a file of noise, cut once, checked
upload() {
  local file=$directory/file begun id chunk at sum status middle before
  head -c "$1" /dev/urandom >"$file"
  sum=$(sha256sum "$file" | cut -d ' ' -f 1)
  begun=$(call --fail --header 'content-type: application/json' --data "{\"name\":\"noise\",\"size\":$1}" "$uploads")
  id=$(json id <<<"$begun") chunk=$(json chunk_bytes <<<"$begun") at=0
  middle=$(($1 / 2 / chunk * chunk))
  before=$(date +%s%N)
  while [ $(($1 - at)) -gt "$chunk" ]; do
    if [ "$at" = "$middle" ]; then
      break_off "$id" "$file" "$at" "$chunk"
      status=$(add "$id" "$file" "$at" "$chunk")
      [ "$status" = 409 ] || die "a piece at an offset that is taken was answered $status"
      at=$(about_upload "$id" offset)
      printf '  cut at %s MiB, the server had %s bytes of that piece\n' $((middle >> 20)) $((at - middle))
    fi
    status=$(add "$id" "$file" "$at" "$chunk")
    [ "$status" = 204 ] || die "the piece at $at was answered $status"
    at=$((at + chunk))
  done
  status=$(add "$id" "$file" "$at" $(($1 - at)) --header "upload-sha256: $sum")
  [ "$status" = 204 ] || die "the last piece was answered $status"
  [ "$(about_upload "$id" sha256)" = "$sum" ] || die "the server has another SHA-256"
  printf '  %s MiB in %s ms, the server has SHA-256 %s\n' $(($1 >> 20)) $((($(date +%s%N) - before) / 1000000)) "$sum"
  call --fail --request DELETE "$uploads/$id"
  rm "$file"
}

# damaged: a file that is not the one that was meant is refused whole
damaged() {
  local id status
  printf 'something else' >"$directory/file"
  id=$(call --fail --header 'content-type: application/json' --data '{"name":"noise","size":14}' "$uploads" | json id)
  status=$(add "$id" "$directory/file" 0 14 --header "upload-sha256: $(sha256sum </dev/null | cut -d ' ' -f 1)")
  [ "$status" = 422 ] || die "a damaged file was answered $status"
  [ "$(about_upload "$id" offset)" = 0 ] || die "a damaged file was kept"
  call --fail --request DELETE "$uploads/$id"
  printf '  a damaged file is refused\n'
}

damaged
upload "$small"
first=$(peak)
upload "$size"
second=$(peak)
printf 'memory   at most %s KiB after %s MiB, %s KiB after %s MiB more\n' \
  $((first >> 10)) $((small >> 20)) $((second >> 10)) $((size >> 20))
[ $((second - first)) -le "$slack" ] || die "the large upload took $(((second - first) >> 10)) KiB more"
echo "1 passed, 0 failed"
