#!/bin/sh
# Server time of the console's pages about computers: benches/console.sh [COMPUTERS] [TITLES] [TIMES]
#
# Fills a directory with computers (examples/fill_computers.rs), serves it, signs in and asks each page so many times, one
# after the other. Prints, for each page, the median and the 95th of a hundred of what its footer says it took. Needs curl.
# PROFILE=dev measures an unoptimised server; it is quicker to have.
set -eu
computers=${1:-100000} titles=${2:-20} times=${3:-40}
profile=${PROFILE:-release}
directory=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$directory"' EXIT
cargo build --quiet --profile "$profile" --bin dripfeed --example fill_computers
built=target/$([ "$profile" = dev ] && echo debug || echo "$profile")
"$built/examples/fill_computers" "$directory" "$computers" "$titles"
printf 'a sentence to sign in with\n' | "$built/dripfeed" user add --data-dir "$directory" bench --password-stdin >/dev/null
"$built/dripfeed" serve --data-dir "$directory" --http 127.0.0.1:18280 --https 127.0.0.1:18243 >"$directory/log" 2>&1 &
server=$!
until grep -q 'is running' "$directory/log"; do sleep 1; done
site=https://127.0.0.1:18243
ask() { curl --silent --cacert "$directory/certs/ca.pem" --cookie "$directory/cookies" --cookie-jar "$directory/cookies" "$@"; }
ask --output /dev/null --data 'name=bench&password=a+sentence+to+sign+in+with' "$site/sign-in"
one=$(ask "$site/computers" | grep -o 'href="/computers/[^"?]*-2026-[^"?]*"' | head -n 1 | cut -d '"' -f 2)
for page in /computers '/computers?sort=-contact' '/computers?archived=1' '/computers?after=1.muc' \
    '/computers?q=name+%3D+%27par-ws-00041%27' '/computers?q=os+contains+debian' '/computers?q=tag+%3D+nothing' \
    '/computers?q=has+software+%27firefox%27' '/computers?q=has+software+%27firefox%27+%3C+%277.2%27' \
    '/search?q=par-ws-00' '/search?q=nothing' "$one" "$one/inventory" "$one/changes" "$one/packages" "$one/settings" \
    /software /software/Firefox; do
    for _ in $(seq "$times"); do
        ask "$site$page" | grep -o 'page took *[0-9]* ms' | grep -o '[0-9]*'
    done | sort -n | awk -v page="$page" '
        { took[NR] = $1 }
        END { printf "%6d ms %6d ms  %s\n", took[int((NR + 1) / 2)], took[int(NR * 0.95 + 0.999)], page }'
done
