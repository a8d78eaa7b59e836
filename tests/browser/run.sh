#!/bin/bash
# The console in a real browser, with a real server and real agents; and the API as a stranger would try it.
#
#   tests/browser/run.sh [SCENARIO…]
#
# Root on Debian. Debian's chromium, npm's puppeteer-core and axe-core, PyPI's schemathesis: what is missing is
# installed, all but Debian's packages into a temporary directory. Scenarios: see README.md beside this file.
# Pictures of every page: target/screenshots/.
#
# DRIPFEED, DRIPFEED_AGENT: other programs than target/release/'s. TOOLS: a directory where what is installed is kept
# for the next run. KEEP=1: keep the temporary directory. SKIP_WITHOUT_ROOT=1: pass where this cannot run.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."
NAME=tests/browser/run.sh
# shellcheck source=tests/interop/lib.sh
. tests/interop/lib.sh
begin
case $dripfeed in /*) ;; *) dripfeed=$PWD/$dripfeed ;; esac
case $dripfeed_agent in /*) ;; *) dripfeed_agent=$PWD/$dripfeed_agent ;; esac

scenarios=("$@")
[ ${#scenarios[@]} -gt 0 ] ||
  scenarios=(sign-in errors upload deploy failure groups restricted places theme pages templates takeover singly gates duplicates
    newcomers fields scope series approval waking tour token payloads api)
in_browser=() api=0
for scenario in "${scenarios[@]}"; do
  if [ "$scenario" = api ]; then api=1; else in_browser+=("$scenario"); fi
done
# The token that the API is tried with is made in the console.
if [ "$api" = 1 ] && [[ " ${in_browser[*]:-} " != *" token "* ]]; then in_browser+=(token); fi

# ------------------------------------------------------------------------------------------------ what it needs

needed=()
command -v chromium >/dev/null || needed+=(chromium)
command -v node >/dev/null || needed+=(nodejs)
command -v npm >/dev/null || needed+=(npm)
python=/usr/bin/python3
"$python" -c 'import ensurepip' 2>/dev/null || needed+=(python3 python3-venv)
# What pages are written with: without any font there is no text to look at.
fc-list 2>/dev/null | grep -q . || needed+=(fonts-dejavu-core)
install_packages "${needed[@]}"

make_work dripfeed-browser
data=$work/server
shots=${SHOTS:-$PWD/target/screenshots}
tools=${TOOLS:-$work/tools}
server_pid=
finish() {
  local status=$?
  trap - EXIT
  end_process "$server_pid"
  if [ "$status" != 0 ] || [ "$failed" != 0 ]; then tell_logs "$work/server.log" "$work/tools.log"; fi
  remove_work
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

mkdir -p "$data" "$shots" "$tools"
# Pictures of a page that is not there any more would be taken for today's.
rm -f "$shots"/*.png
cp "$here"/*.mjs "$here/package.json" "$tools/"
if ! [ "$tools/node_modules/.package-lock.json" -nt "$here/package.json" ]; then
  say "installing what package.json names"
  (cd "$tools" && npm install --no-audit --no-fund --no-package-lock --ignore-scripts --loglevel=error) \
    </dev/null >>"$work/tools.log" 2>&1 || die "npm could not install puppeteer-core and axe-core"
fi
if [ "$api" = 1 ] && ! [ -x "$tools/python/bin/schemathesis" ]; then
  say "installing what requirements.txt names"
  { "$python" -m venv "$tools/python" && "$tools/python/bin/pip" install --quiet -r "$here/requirements.txt"; } \
    </dev/null >>"$work/tools.log" 2>&1 || die "pip could not install schemathesis"
fi

# ------------------------------------------------------------------------------------------------------ the server

cat >"$data/dripfeed.toml" <<TOML
[log]
level = "warn"

[settings]
DOWNLOAD_FRAG_LATENCY = 0
DOWNLOAD_CYCLE_LATENCY = 0
DOWNLOAD_PERIOD_LATENCY = 0
FREQUENCY = 0
PROLOG_FREQ = 1
# All agents run here: the same name, the same hardware.
AUTO_DUPLICATE_LVL = 0
TOML

start_server "$data" 127.0.0.1:0 127.0.0.1:0 "$work/server.log"
server_pid=$started
https=$(json https <"$data/addresses.json")
wait_until 10 grep -q 'one-time password' "$work/server.log" || die "the server tells no password for the first sign-in"
password=$(sed -nE 's/.*admin with the one-time password ([^ ]+).*/\1/p' "$work/server.log" | head -n 1)
base=https://127.0.0.1:${https##*:}
say "serving at $base"

# ---------------------------------------------------------------------------------------------------- the browser

echo "0 0" >"$work/counts"
drive() {
  env -u http_proxy -u https_proxy -u HTTP_PROXY -u HTTPS_PROXY HOME="$work/home" \
    NODE_EXTRA_CA_CERTS="$data/certs/ca.pem" BASE="$base" CA="$data/certs/ca.pem" DATA="$data" WORK="$work" SHOTS="$shots" COUNTS="$work/counts" \
    PASSWORD="$password" DRIPFEED="$dripfeed" AGENT="$dripfeed_agent" CHROMIUM="$(command -v chromium)" \
    node "$tools/drive.mjs" "$@" </dev/null
}
drive "${in_browser[@]}" || failed=$((failed + 1))
read -r more_passed more_failed <"$work/counts"
passed=$((passed + more_passed)) failed=$((failed + more_failed))

# -------------------------------------------------------------------------------------------------------- the API

# The document of the API against the API: nothing that it does not tell, no failure of the server. Streams of events have
# no end to wait for.
schemathesis_once() {
  # It leaves a cache where it runs.
  (cd "$work" && exec timeout --kill-after=5 "${API_SECONDS:-300}" "$tools/python/bin/schemathesis" \
    --config-file "$here/schemathesis.toml" run "$base/api/v1/openapi.json" \
    --tls-verify "$data/certs/ca.pem" --header "Authorization: Bearer $(cat "$work/token")" \
    --max-examples "${API_EXAMPLES:-10}" --seed 42 --workers 1 --request-timeout 20 \
    --exclude-path-regex '/(live|events|stream)$' --no-color </dev/null >"$work/api.log" 2>&1)
}
try_api() {
  local turn
  [ -s "$work/token" ] || { echo "       there is no token"; return 1; }
  for turn in 1 2 3; do
    if schemathesis_once; then
      sed -nE '/(Operations|Test cases|Selected|Tested|generated)/p' "$work/api.log"
      return 0
    fi
    sed -n "/^=.* \(FAILURES\|ERRORS\) /,/^=.* WARNINGS/p" "$work/api.log" | head -n 150
    tail -n 25 "$work/api.log"
    # An answer that is wrong is wrong at once. What it calls an error is its own (a recursion in its parser, a connection
    # that it reused too late) and is tried again, aloud.
    if grep -q '^=.* FAILURES ' "$work/api.log"; then return 1; fi
    say "schemathesis ended with an error of its own (turn $turn)"
  done
  return 1
}
if [ "$api" = 1 ]; then
  check "schemathesis finds no failure, and no answer that the document does not tell" try_api
fi
check "the server is still there" kill -0 "$server_pid"
check "the server's log tells of no panic" fails grep -n "panicked at" "$work/server.log"

summary
