#!/bin/sh
# Server time of the console's pages: benches/console.sh [COMPUTERS] [TITLES] [TIMES] [JOBS] [PACKAGES]
#
# Fills two directories: one with computers that differ (examples/fill_computers.rs), one with computers that have so many
# jobs each (examples/fill.rs), and so many packages. Serves them one after the other, signs in, and asks each page so many
# times. Prints, for each page, the median and the 95th of a hundred of what its footer says it took. Needs curl.
# PROFILE=dev measures an unoptimised server; it is quicker to have.
set -eu
computers=${1:-100000} titles=${2:-20} times=${3:-40} jobs=${4:-20} packages=${5:-200}
profile=${PROFILE:-release}
directory=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$directory"' EXIT
cargo build --quiet --profile "$profile" --bin dripfeed --example fill_computers --example fill
built=${CARGO_TARGET_DIR:-target}/$([ "$profile" = dev ] && echo debug || echo "$profile")
site=https://127.0.0.1:18243

serve() {
    printf 'a sentence to sign in with\n' | "$built/dripfeed" user add --data-dir "$data" bench --password-stdin >/dev/null
    "$built/dripfeed" serve --data-dir "$data" --http 127.0.0.1:18280 --https 127.0.0.1:18243 >"$data/log" 2>&1 &
    server=$!
    until grep -q 'is running' "$data/log"; do sleep 1; done
    ask --output /dev/null --data 'name=bench&password=a+sentence+to+sign+in+with' "$site/sign-in"
}
stop() {
    kill "$server"
    wait "$server" 2>/dev/null || true
    server=
}
ask() { curl --silent --cacert "$data/certs/ca.pem" --cookie "$data/cookies" --cookie-jar "$data/cookies" "$@"; }
told() {
    sort -n | awk -v page="$1" '
        { took[NR] = $1 }
        END { printf "%6d ms %6d ms  %s\n", took[int((NR + 1) / 2)], took[int(NR * 0.95 + 0.999)], page }'
}
# Pages say in their footers how long they took.
pages() {
    for page in "$@"; do
        for _ in $(seq "$times"); do
            ask "$site$page" | grep -o 'page took *[0-9]* ms' | grep -o '[0-9]*'
        done | told "$page"
    done
}
data=$directory/computers
mkdir "$data"
"$built/examples/fill_computers" "$data" "$computers" "$titles"
serve
one=$(ask "$site/computers" | grep -o 'href="/computers/[^"?]*-2026-[^"?]*"' | head -n 1 | cut -d '"' -f 2)
pages /computers '/computers?sort=-contact' '/computers?archived=1' '/computers?after=1.muc' \
    '/computers?q=name+%3D+%27par-ws-00041%27' '/computers?q=os+contains+debian' '/computers?q=tag+%3D+nothing' \
    '/computers?q=has+software+%27firefox%27' '/computers?q=has+software+%27firefox%27+%3C+%277.2%27' \
    '/computers?q=has+no+software+%27firefox%27' '/computers?q=last_contact+older+than+3+days' \
    '/search?q=par-ws-00' '/search?q=nothing' "$one" "$one/inventory" "$one/changes" "$one/packages" "$one/settings" \
    '/computers/counts?by=os' '/computers/counts?by=tag' /duplicates /fields /registration /networks \
    /software /software/Firefox '/groups/new?where=os+contains+debian' '/groups/new?where=has+software+%27firefox%27'
stop

data=$directory/jobs
mkdir "$data"
"$built/examples/fill" --data-dir "$data" --computers "$computers" --jobs "$jobs" --titles "$titles"
for n in $(seq $((packages - jobs))); do
    "$built/dripfeed" package build --data-dir "$data" --name "more-$n" --version 1 --os linux --action execute --command true \
        >/dev/null 2>>"$data/built"
done
serve
deployment=$(ask "$site/deployments" | grep -o 'href="/deployments/[0-9]*"' | head -n 1 | cut -d '"' -f 2)
package=$(ask "$site/packages" | grep -o 'href="/packages/[0-9]*"' | tail -n 1 | cut -d '"' -f 2)
pages / /packages '/packages?sort=name' /deployments "$deployment" "$deployment/computers" "$deployment/errors" \
    "$package" "$package/computers" /stuck /templates /series /deployments/new
stop
