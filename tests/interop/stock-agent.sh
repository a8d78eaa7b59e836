#!/bin/bash
# The unmodified OCS Inventory agent of Debian, against our server, over HTTPS with its certificate verified.
#
#   cargo build --release && tests/interop/stock-agent.sh
#
# Needs root on Debian 12 or later (the agent is installed with apt-get, and agents run as root). It takes
# target/release/dripfeed, or the program that $DRIPFEED names, serves on free ports of 127.0.0.1 and keeps everything,
# the agent's own state included, in one temporary directory; KEEP=1 leaves that directory behind.
# Without root it says so and fails, or, with SKIP_WITHOUT_ROOT=1, says so and succeeds.
#
# What one has to know about that package: README.md beside this file.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly ATTEMPTS=4            # runs of the agent until every package has its result
readonly CHILD_SECONDS=240     # how long one run may go on downloading
readonly FRAGMENTS=24          # of the STORE package

NAME=stock-agent
. tests/interop/lib.sh
begin
install_packages "${stock_agent_packages[@]}"

# ----------------------------------------------------------------------------------------------------- the scene

make_work dripfeed-stock
data=$work/data
out=$work/out        # where the packages leave their traces
source=$work/source  # what the packages are made of
mkdir -p "$data" "$out" "$source"

server_pid=
other_pid=

finish() {
  local status=$? pid
  trap - EXIT
  kill_stock_children "$work/agent"
  for pid in $server_pid $other_pid; do end_process "$pid"; done
  if [ "$status" != 0 ] || [ "$failed" != 0 ]; then tell_logs "$work/server.log" "$work/agent.log"; fi
  remove_work
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# ------------------------------------------------------------------------------------------------------ the server

cat >"$data/dripfeed.toml" <<TOML
[settings]
DOWNLOAD_FRAG_LATENCY = 1
DOWNLOAD_CYCLE_LATENCY = 1
DOWNLOAD_PERIOD_LATENCY = 0
DOWNLOAD_PERIOD_LENGTH = 10
DOWNLOAD_TIMEOUT = 7
FREQUENCY = 0
PROLOG_FREQ = 1
TOML

start_server "$data" 127.0.0.1:0 127.0.0.1:0 "$work/server.log"
server_pid=$started
http=$(json http <"$data/addresses.json")
https=$(json https <"$data/addresses.json")
http_port=${http##*:}
https_port=${https##*:}
server_url=https://localhost:$https_port/ocsinventory
state=$(stock_state "$work/agent" "$server_url")
say "serving on $http and $https"

# run_agent CA: one check-in; the child goes on in the background
run_agent() { stock_agent "$work/agent" "$server_url" "$1" "$work/agent.log"; }
child_is_gone() { stock_child_is_gone "$state" "$CHILD_SECONDS"; }

# ---------------------------------------------------------------------------------------- first contact, inventory

# Another server's authority: the agent must refuse ours, or "verified" would mean nothing below.
mkdir -p "$work/other"
start_server "$work/other" 127.0.0.1:0 127.0.0.1:0 "$work/other.log"
other_pid=$started
kill -TERM "$other_pid"
other_status=0
wait "$other_pid" || other_status=$?
other_pid=
check "a server that is told to end ends with exit code 0" equal "$other_status" 0
check "an agent that trusts another authority does not talk to us" fails run_agent "$work/other/certs/ca.pem"
check "... and is not known to the server" fails grep -q . <(verb computer list | grep "$(uname -n | cut -d. -f1)-")

ca=$data/certs/ca.pem
host=$(uname -n | cut -d. -f1)
check "the agent says prolog and sends its inventory" run_agent "$ca"
child_is_gone
device=$(device_of "$state")
check "the agent made itself an identifier" grep -qE '^.+-[0-9]{4}(-[0-9]{2}){5}$' <<<"$device"
check "the server knows the computer by its identifier" grep -qF "$device" <(verb computer list)
check "the server knows the computer's name from its inventory" grep -qF "$host" <(verb computer show "$device")

# ----------------------------------------------------------------------------------------------------- the packages

# Every package leaves one line in $out/order when it runs: what ran, in which order, and how often.
script() { # script NAME EXIT FILE
  printf '#!/bin/sh\necho "%s" >>"%s/order"\nexit %s\n' "$1" "$out" "$2" >"$3"
  chmod 755 "$3"
}

mkdir -p "$source"/{absolute,exit3,archive,zip,store/bin,store/share/deep/er}
script absolute 0 "$source/absolute/setup.sh"
head -c 60000 /dev/urandom >"$source/absolute/payload.bin"
script exit3 3 "$source/exit3/setup.sh"
script archive 0 "$source/archive/install.sh"
echo "a word that only the archive holds" >"$source/archive/word.txt"
tar -C "$source/archive" -czf "$source/archive.tar.gz" install.sh word.txt
script zip 0 "$source/zip/install.sh"
for n in 1 2 3; do head -c 4000 /dev/urandom >"$source/zip/part$n.bin"; done
# One member would be taken for a gzip file by the agent's tar.
(cd "$source/zip" && perl -MIO::Compress::Zip=:all -e '
  zip \@ARGV => "../package.zip", Method => ZIP_CM_DEFLATE or die $ZipError' install.sh part1.bin part2.bin part3.bin)
head -c 900000 /dev/urandom >"$source/store/random.bin"
head -c 300000 /dev/zero >"$source/store/share/zero.bin"
: >"$source/store/share/empty"
seq 20000 >"$source/store/share/deep/er/numbers.txt"
script store 0 "$source/store/bin/tool"
ln -s share/deep/er/numbers.txt "$source/store/numbers"

# activate ID: at this server's own address, by the name that is in its certificate
activate() {
  local port=$http_port
  verb package show "$1" --info | grep -q 'PROTO="HTTPS"' && port=$https_port
  verb activate "$1" --info-location "localhost:$https_port/download" --fragment-location "localhost:$port/download" >&2
}

deploy() {
  local id=$1
  shift
  verb assign "$id" --computer "$device" "$@" >&2
}

declare -A package
make() { # make NAME BUILD-ARGUMENTS…
  local name=$1 id
  shift
  id=$(build "$@" --name "$name") || die "package \"$name\" could not be built"
  activate "$id" || die "package \"$name\" ($id) could not be activated"
  package[$name]=$id
}

make absolute "$source/absolute" --action launch --command setup.sh --priority 0 --fragments 3
make exit3 "$source/exit3/setup.sh" --action launch --command setup.sh --priority 5
make bare --action execute --command "echo bare >>$out/order"
make archive "$source/archive.tar.gz" --action execute --priority 1 \
  --command "sh ./install.sh && cp word.txt $out/word.txt"
make failing --action execute --priority 1 --command "echo failing >>$out/order; exit 7"
make zip "$source/package.zip" --action execute --priority 1 --command "sh ./install.sh && cp part2.bin $out/part2.bin"
make store "$source/store" --action store --path "$out/store" --priority 1 --fragments "$FRAGMENTS"

info_of() { verb package show "$1" --info; }
check "the STORE package has $FRAGMENTS fragments" grep -q "FRAGS=\"$FRAGMENTS\"" <(info_of "${package[store]}")
check "a command without an archive has none" grep -q 'FRAGS="0"' <(info_of "${package[bare]}")
check "the absolute package has priority 0" grep -q 'PRI="0"' <(info_of "${package[absolute]}")

# ------------------------------------------------------------------------------------------------------- deploying

result() { result_of "${package[$1]}" "$device"; }

# The agent dies now and then with two packages of priority 0 beside others, and stays away when a child still runs:
# several runs are its normal life.
until_closed() {
  local attempt name open
  for ((attempt = 1; attempt <= ATTEMPTS; attempt++)); do
    run_agent "$ca" || say "the agent ended with an error in attempt $attempt"
    child_is_gone
    open=
    for name in "$@"; do is_closed "${package[$name]}" "$device" || open+=" $name"; done
    [ -n "$open" ] || return 0
    say "still open after run $attempt:$open"
  done
  return 1
}

# expect NAME STATE CODE SENTENCE
expect() { check "$4: $3" equal "$(result "$1")" "$2 $3"; }

several=(absolute exit3 bare archive failing zip)
for name in "${several[@]}"; do deploy "${package[$name]}"; done
check "before the next contact a job is pending" equal "$(result bare)" "pending "
check "six packages of priorities 0, 1 and 5 come to their end" until_closed "${several[@]}"
expect absolute succeeded SUCCESS_0 "LAUNCH, exit 0, priority 0, three fragments"
expect exit3 succeeded SUCCESS_3 "LAUNCH, exit 3, priority 5, a bare file"
expect bare succeeded SUCCESS "EXECUTE without an archive"
expect archive succeeded SUCCESS "EXECUTE with a tar.gz"
expect failing failed ERR_EXECUTE "EXECUTE that fails"
expect zip succeeded SUCCESS "EXECUTE with a ZIP"
check "the absolute package ran before all others" equal "$(head -n 1 "$out/order")" absolute
check "each of them ran exactly once" equal "$(sort "$out/order" | tr '\n' ' ')" \
  "absolute archive bare exit3 failing zip "
check "the command saw the archive's files" cmp "$source/archive/word.txt" "$out/word.txt"
check "the command saw the ZIP's files" cmp "$source/zip/part2.bin" "$out/part2.bin"

# --------------------------------------------------------- a long one: the agent is killed, then the server is killed

still_missing() { wc -l <"$state/download/${package[store]}/task" 2>/dev/null || echo "$FRAGMENTS"; }
missing_at_most() { [ "$(still_missing)" -le "$1" ]; }

deploy "${package[store]}"
run_agent "$ca" || die "the agent ended with an error"
wait_until 60 missing_at_most $((FRAGMENTS - 4)) || die "no four fragments came within a minute"
child=$(stock_child "$work/agent" "$state") || die "the agent's downloading child is not to be found"
kill -9 "$child"
check "an offered package is offered until there is a result" equal "$(result store)" "offered "
had=$(still_missing)
run_agent "$ca" || die "the agent ended with an error"
wait_until 60 missing_at_most $((had - 4)) || die "the killed agent does not go on"
{
  kill -9 "$server_pid"
  wait "$server_pid" || true
} 2>/dev/null # the shell would tell the world that it was killed
server_pid=
sleep 3 # the agent asks in vain meanwhile
start_server "$data" "127.0.0.1:$http_port" "127.0.0.1:$https_port" "$work/server.log"
server_pid=$started
child_is_gone
is_closed "${package[store]}" "$device" || until_closed store || true
expect store succeeded SUCCESS "STORE of $FRAGMENTS fragments, agent and server killed on the way"
check "the stored files are the source's, byte by byte" diff -r --no-dereference "$source/store" "$out/store"
check "... and what was executable still is" test -x "$out/store/bin/tool"

# --------------------------------------------------------------------------------------------- once, unless forced

deploy "${package[absolute]}"
check "a package that is in the agent's history is not offered again" until_closed absolute
expect absolute "already installed" SUCCESS_ALREADY_IN_HISTORY "deployed a second time"
check "... and was not executed again" equal "$(grep -c absolute "$out/order")" 1
deploy "${package[absolute]}" --force
check "... unless it is forced" until_closed absolute
expect absolute succeeded SUCCESS_0 "deployed a third time, forced"
check "... and executed a second time" equal "$(grep -c absolute "$out/order")" 2

run_agent "$ca" || die "the agent ended with an error"
child_is_gone
check "nothing is left in the agent's work directory" equal \
  "$(find "$state/download" -mindepth 1 -maxdepth 1 -name '[0-9]*' | wc -l)" 0
check "the downloaded tree is as it was built" verb package verify

summary
