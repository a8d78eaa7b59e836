# What the scripts beside this file share. Sourced, with `set -euo pipefail` and the repository's root as working
# directory; $NAME is the script's name in its messages.

say() { printf '%s: %s\n' "$NAME" "$*" >&2; }
die() {
  say "$*"
  exit 1
}

# What all of them need: root, apt-get, and the programs under test.
begin() {
  if [ "$(id -u)" != 0 ]; then
    say "SKIPPED: this test installs packages of Debian and runs an agent as root; run it as root"
    [ "${SKIP_WITHOUT_ROOT:-0}" = 1 ] && exit 0
    exit 1
  fi
  command -v apt-get >/dev/null || die "apt-get is not here: this test needs Debian's packages"
  command -v flock >/dev/null || die "flock of util-linux is not here"
  dripfeed=${DRIPFEED:-${CARGO_TARGET_DIR:-$PWD/target}/release/dripfeed}
  dripfeed_agent=${DRIPFEED_AGENT:-${dripfeed%/*}/dripfeed-agent}
  local program
  for program in "$dripfeed" "$dripfeed_agent"; do
    [ -x "$program" ] || die "$program is not there: run 'cargo build --release' first, or name it in DRIPFEED(_AGENT)"
  done
}

# What copies the tree, for scripts in which there is a mirror.
need_mirror() {
  dripfeed_mirror=${DRIPFEED_MIRROR:-${dripfeed%/*}/dripfeed-mirror}
  [ -x "$dripfeed_mirror" ] || die "$dripfeed_mirror is not there: run 'cargo build --release' first, or name it in DRIPFEED_MIRROR"
}

# ---------------------------------------------------------------------------------------------- Debian's packages

# What the stock agent needs: its deployment module switches itself off without the second and the third, which are
# only recommended; unzip is what it opens a ZIP with.
# shellcheck disable=SC2034 # used by the scripts
stock_agent_packages=(ocsinventory-agent liblwp-protocol-https-perl libio-socket-ssl-perl unzip)

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# install_packages PACKAGE…: those that are missing; no service of theirs starts
install_packages() {
  local package missing=() policy=/usr/sbin/policy-rc.d made_policy=0 log failed=0 began=$SECONDS
  for package in "$@"; do
    installed "$package" || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  say "installing ${missing[*]}"
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    made_policy=1
  fi
  log=$(mktemp)
  apt_install() {
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}" </dev/null >"$log" 2>&1
  }
  apt_install || { apt-get update </dev/null >>"$log" 2>&1 && apt_install; } || failed=1
  [ "$made_policy" = 0 ] || rm -f "$policy"
  if [ "$failed" = 1 ]; then
    tail -n 20 "$log" >&2
    die "apt-get could not install ${missing[*]}: without them there is nothing to test"
  fi
  rm -f "$log"
  say "installed in $((SECONDS - began)) s"
}

# ------------------------------------------------------------------------------------------------------------ checks

passed=0
failed=0

# check SENTENCE COMMAND…: one line, and the count
check() {
  local sentence=$1
  shift
  if "$@"; then
    passed=$((passed + 1))
    printf 'ok     %s\n' "$sentence"
  else
    failed=$((failed + 1))
    printf 'FAILED %s\n' "$sentence"
  fi
}
equal() {
  [ "$1" = "$2" ] && return 0
  printf '       expected "%s", found "%s"\n' "$2" "$1"
  return 1
}
fails() { ! "$@"; }
matches() { # matches TEXT EXPRESSION
  grep -qE -- "$2" <<<"$1" && return 0
  printf '       expected /%s/, found "%s"\n' "$2" "$1"
  return 1
}

# The last line, and the exit code.
summary() {
  printf '%s passed, %s failed\n' "$passed" "$failed"
  [ "$failed" = 0 ]
}

# wait_until SECONDS COMMAND…: polls five times a second
wait_until() {
  local turns=$(($1 * 5))
  shift
  while ! "$@"; do
    turns=$((turns - 1))
    [ "$turns" -gt 0 ] || return 1
    sleep 0.2
  done
}

# json PATH…: a value of the JSON document on standard input, keys and indices as arguments
json() {
  perl -MJSON::PP -0777 -e '
    my $value = JSON::PP->new->allow_nonref->decode(<STDIN>);
    for (@ARGV) { $value = ref $value eq "ARRAY" ? $value->[$_] : ref $value eq "HASH" ? $value->{$_} : undef; }
    print $value // "";' -- "$@"
}

# --------------------------------------------------------------------------------------------------------- processes

# make_work NAME: the temporary directory that everything is in, as $work
make_work() {
  work=$(mktemp -d "${TMPDIR:-/tmp}/$1.XXXXXX")
  # The stock agent hands the path of a STORE package to a shell, unquoted.
  case $work in *[[:space:]]*) die "the temporary directory \"$work\" has a blank in its name: set TMPDIR" ;; esac
  mkdir -p "$work/home"
}

# end_process PID: asks, waits five seconds, then insists; only for children of this shell
end_process() {
  [ -n "$1" ] || return 0
  {
    kill "$1" && { wait_until 5 fails kill -0 "$1" || kill -9 "$1"; }
    wait "$1"
  } 2>/dev/null || true
}

# tell_logs LOG…: the ends of those that have something, when something failed
tell_logs() {
  local log
  for log in "$@"; do
    [ -s "$log" ] || continue
    say "the end of ${log##*/}:"
    tail -n 40 "$log" >&2
  done
}

# remove_work: unless KEEP=1
remove_work() {
  if [ "${KEEP:-0}" = 1 ]; then say "kept $work"; else rm -rf "$work"; fi
}

# --------------------------------------------------------------------------------------------------- our server

verb() { "$dripfeed" "$@" --data-dir "$data"; }

# start_server DIRECTORY HTTP HTTPS LOG: sets `started`
start_server() {
  rm -f "$1/addresses.json"
  "$dripfeed" serve --data-dir "$1" --http "$2" --https "$3" </dev/null >>"$4" 2>&1 &
  started=$!
  wait_until 30 test -s "$1/addresses.json" || die "the server did not come up within 30 seconds"
  kill -0 "$started" 2>/dev/null || die "the server ended right after its start"
}

# build ARGUMENTS…: prints the id
build() {
  local id
  id=$(verb package build "$@" --version 1.0 --os linux </dev/null) || return 1
  grep -oE '[0-9]{6,}' <<<"$id" | head -n 1
}

# result_of ID DEVICE: "state code" of the newest job of that package on that computer
result_of() {
  local status
  status=$(verb status "$1" --computer "$2" --json)
  printf '%s %s' "$(json jobs -1 state <<<"$status")" "$(json jobs -1 code <<<"$status")"
}
is_closed() { case $(result_of "$1" "$2") in pending* | offered* | downloading*) return 1 ;; esac; }

# ------------------------------------------------------------------------------------------------- the stock agent

# A stock agent's state is in BASE/<server URL with / as _>/.
stock_state() { printf '%s/%s' "$1" "${2//\//_}"; } # stock_state BASE URL

# The one place that starts the stock agent. A clean environment: it would obey http_proxy. Its package's configuration
# says local=…, hence --nolocal.
# $HOST_NAME, if it is set, is what the computer is called for it; its bytes are taken as they are.
# $AGENT_ENVIRONMENT has further NAME=VALUE, blanks in between.
# stock_agent BASE URL CA LOG [ARGUMENT…]: one check-in; its downloading child goes on in the background
stock_agent() {
  local base=$1 url=$2 ca=$3 log=$4 renamed=()
  shift 4
  if [ -n "${HOST_NAME:-}" ]; then
    renamed=(unshare --uts sh -c 'printf %s "$0" >/proc/sys/kernel/hostname && exec "$@"' "$HOST_NAME")
  fi
  env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME="$work/home" LANG=C TZ=UTC ${AGENT_ENVIRONMENT:-} "${renamed[@]}" \
    ocsinventory-agent --nolocal --debug --server="$url" --ca="$ca" --basevardir="$base" "$@" </dev/null >>"$log" 2>&1
}

# stock_child BASE STATE: the pid of the downloading child, which outlives the agent and keeps it in the lock file
stock_child() {
  local lock=$2/download/lock pid
  [ -s "$lock" ] || return 1
  pid=$(tr -dc 0-9 <"$lock")
  [ -n "$pid" ] && { tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qF -- "--basevardir=$1" && printf '%s' "$pid"
}

# kill_stock_children BASE…
kill_stock_children() {
  local base state pid
  for base in "$@"; do
    for state in "$base"/*/; do
      pid=$(stock_child "$base" "${state%/}") && kill -9 "$pid" 2>/dev/null
    done
  done
  return 0
}

# stock_child_is_gone STATE SECONDS. The child holds a lock for as long as it lives; it may not have taken it yet when
# the agent returns.
stock_child_is_gone() {
  sleep 1
  flock --timeout "$2" "$1/download/lock" true || die "the agent still downloads after $2 seconds"
}

# device_of STATE: the identifier that an agent, stock or ours, made itself
device_of() { sed -n 's:.*<DEVICEID>\(.*\)</DEVICEID>.*:\1:p' "$1/ocsinv.conf" | head -n 1; }
