#!/bin/bash
# Our agent for Windows against our server, under wine: check-in, inventory, packages, time-out, people, service.
#
#   cargo build --release && tests/interop/wine.sh
#
# Needs root on Debian 12, the server's release binary (or $DRIPFEED), and Rust's library for x86_64-pc-windows-gnu, which
# it fetches by rustup if it is missing. Without that library it says so and skips; under CI=true that is a failure.
# Wine is not Windows: what is shown here is that the program's own part is right. Everything is in one temporary
# directory and on 127.0.0.1; KEEP=1 leaves the directory behind.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly TARGET=x86_64-pc-windows-gnu

NAME=wine
. tests/interop/lib.sh
DRIPFEED_AGENT=${DRIPFEED_AGENT:-${DRIPFEED:-${CARGO_TARGET_DIR:-$PWD/target}/release/dripfeed}} # the other agent is built here
begin
install_packages gcc-mingw-w64-x86-64 wine wine64 zip xvfb xdotool
if ! [ -d "$(rustc --print sysroot)/lib/rustlib/$TARGET" ] && ! rustup target add "$TARGET" >/dev/null 2>&1; then
  say "SKIPPED: Rust's library for $TARGET is not here, and rustup could not fetch it"
  [ "${CI:-}" = true ] && exit 1
  printf '0 passed, 0 failed\n'
  exit 0
fi
began=$SECONDS

# ----------------------------------------------------------------------------------------------------- the scene

make_work dripfeed-wine
data=$work/data
mkdir -p "$data"
export WINEPREFIX=$work/prefix WINEDEBUG=-all WINEDLLOVERRIDES='mscoree,mshtml='
unset DISPLAY
server_pid=
companion=
screen_pid=
finish() {
  local status=$?
  trap - EXIT
  end_process "$companion"
  end_process "$server_pid"
  wineserver -k 2>/dev/null || true
  end_process "$screen_pid"
  if [ "$status" != 0 ] || [ "$failed" != 0 ]; then
    tell_logs "$work/server.log" "$work/verbs.log" "$work/agent.log" "$work/unit.log" "$work/wine.log" "$program_data/agent.log"
  fi
  remove_work
  exit "$status"
}
program_data="$WINEPREFIX/drive_c/ProgramData/dripfeed-agent"
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

for_windows() { # for_windows VERB ARGUMENT…
  local verb=$1
  shift
  # Wine 8 on a busy machine now and then never comes back from starting a process.
  timeout --kill-after=10 600 cargo "$verb" --quiet --target "$TARGET" --no-default-features --features agent "$@"
}

say "wine makes its Windows"
{ timeout 120 wine wineboot -i && timeout 60 wineserver -w; } </dev/null >"$work/wine.log" 2>&1 || die "wine does not start"
# Wine 8 has no such library, and Rust's asks it for random numbers. One function is all of it.
cat >"$work/random.c" <<'C'
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE buffer, SIZE_T length) {
  return SystemFunction036(buffer, (ULONG)length);
}
C
system32=$WINEPREFIX/drive_c/windows/system32
if ! [ -e "$system32/bcryptprimitives.dll" ]; then
  x86_64-w64-mingw32-gcc -shared -O2 -o "$system32/bcryptprimitives.dll" "$work/random.c" -ladvapi32
fi

# ------------------------------------------------------------------------------------------------------ the program

say "building the agent for Windows, and its tests"
for_windows build --bin dripfeed-agent >"$work/unit.log" 2>&1 || die "the agent does not build for $TARGET"
agent_exe=${CARGO_TARGET_DIR:-$PWD/target}/$TARGET/debug/dripfeed-agent.exe
export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER=wine
unit_tests() { for_windows test --lib -- agent:: disk:: config:: archive:: </dev/null >>"$work/unit.log" 2>&1; }
check "the agent's own tests hold on Windows" unit_tests
sed -n 's/^test result/       test result/p' "$work/unit.log"

install -d "$WINEPREFIX/drive_c/dripfeed"
cp "$agent_exe" "$WINEPREFIX/drive_c/dripfeed/"
agent() { wine 'C:\dripfeed\dripfeed-agent.exe' "$@" </dev/null 2>>"$work/agent.log"; }
expect_code() { # expect_code N COMMAND…
  local expected=$1 found=0
  shift
  "$@" >>"$work/verbs.log" || found=$?
  equal "$found" "$expected"
}

# ------------------------------------------------------------------------------------------------------- the server

{ # a minute is the shortest time-out
  echo 'public_name = "localhost"'
  echo '[settings]'
  for pair in FRAG_LATENCY=0 CYCLE_LATENCY=0 PERIOD_LATENCY=0 EXECUTION_TIMEOUT=1; do
    echo "DOWNLOAD_${pair%=*} = ${pair#*=}"
  done
  echo 'FREQUENCY = 0'
} >"$data/dripfeed.toml"
start_server "$data" 127.0.0.1:0 127.0.0.1:0 "$work/server.log"
server_pid=$started
http=$(json http <"$data/addresses.json")
https=$(json https <"$data/addresses.json")
url=https://localhost:${https##*:}/ocsinventory
say "serving on $http and $https"
install -d "$program_data"
cp "$data/certs/ca.pem" "$program_data/cacert.pem"
# A service that starts again would wait some minutes, by chance, before its first contact.
printf 'server = "%s"\ntag = "WINE"\nstart_delay = 0\n' "$url" >"$program_data/dripfeed-agent.toml"
uninstall='HKLM\Software\Microsoft\Windows\CurrentVersion\Uninstall\tool'
for value in 'DisplayName=A tool' DisplayVersion=4.2 Publisher=Somebody InstallDate=20240305; do
  wine reg add "$uninstall" /v "${value%%=*}" /d "${value#*=}" /f </dev/null >/dev/null 2>&1
done

# -------------------------------------------------------------------------------------------------------- check-in

check "the agent checks in with what %ProgramData% says" expect_code 0 agent once
state=$(find "$program_data" -name ocsinv.conf -printf '%h\n')
device=$(device_of "$state")
check "it has an identity" test -n "$device"
check "a second contact is the same computer" expect_code 0 agent once
check "and its identity stays" equal "$(device_of "$state")" "$device"
shown=$(verb computer show "$device" --json)
check "the system is told" matches "$shown" 'Microsoft Windows'
check "the tag is told" matches "$shown" '"WINE"'
check "the version of the system is told" matches "$(json os_version <<<"$shown")" '^[0-9]+\.[0-9]+'
check "a network card is told" matches "$(json networks 0 mac <<<"$shown")" '^([0-9A-F]{2}:){5}[0-9A-F]{2}$'
software=$(verb computer show "$device" --software)
check "programs of the registry are told" matches "$software" 'A tool.*4\.2|4\.2.*A tool'
listed=$(agent inventory --json)
check "wine's disk is told" equal "$(json STORAGES 0 NAME <<<"$listed")" PhysicalDrive0
check "its account is told" equal "$(json LOCAL_USERS 0 LOGIN <<<"$listed")" "$(id -un)"
check "its monitor is told" matches "$(json MONITORS 0 CAPTION <<<"$listed")" .
check "status tells the identity" equal "$(agent status --json | json device_id)" "$device"

# -------------------------------------------------------------------------------------------------------- packages

declare -A package
make() { # make NAME BUILD-ARGUMENTS…: built, activated and assigned
  local name=$1 id
  shift
  id=$(verb package build "$@" --name "$name" --version 1.0 --os windows </dev/null 2>>"$work/verbs.log" |
    grep -oE '[0-9]{6,}' | head -n 1) || die "package \"$name\" could not be built"
  package[$name]=$id
  verb activate "$id" --info-location "localhost:${https##*:}/download" \
    --fragment-location "localhost:${http##*:}/download" >>"$work/verbs.log" 2>&1 || die "\"$name\" could not be activated"
  verb assign "$id" --computer "$device" >>"$work/verbs.log" 2>&1
}
expect() { check "$1: $2" equal "$(result_of "${package[$1]}" "$device")" "$3"; }

setup=$work/setup
mkdir -p "$setup/sub dir"
# The exit code is the first argument; what it did is a line in a file.
printf '@echo off\r\necho launch %%1 >>C:\\dripfeed\\order\r\nexit %%1\r\n' >"$setup/my-setup.cmd"
printf 'content\n' >"$setup/sub dir/file.txt"
head -c 60000 /dev/urandom >"$setup/payload"
(cd "$setup" && zip -qr "$work/setup.zip" .)
for code in 0 1641 3010 3011 7; do
  make "launch $code" "$work/setup.zip" --action launch --command "my-setup.cmd $code" --priority 1 --fragments 3
done
make "execute" "$work/setup.zip" --action execute \
  --command 'type "sub dir\file.txt" >C:\dripfeed\typed & echo execute >>C:\dripfeed\order & exit 3'
make "command" --action execute --command 'echo %DRIPFEED_PACKAGE_ID%>C:\dripfeed\id' || true
make "store" "$work/setup.zip" --action store --path '%ProgramFiles%\A tool'
check "the agent carries them out" expect_code 0 agent once
expect "launch 0" "is a success" "succeeded SUCCESS"
expect "launch 1641" "the installer restarts" "succeeded SUCCESS_REBOOT_INITIATED"
expect "launch 3010" "a restart is needed" "succeeded SUCCESS_REBOOT_REQUIRED"
expect "launch 3011" "a restart of programs is needed" "succeeded SUCCESS_RESTART_REQUIRED"
expect "launch 7" "the exit code is told" "failed ERR_EXIT_CODE_7"
expect "execute" "the exit code is told" "failed ERR_EXIT_CODE_3"
expect "command" "a command without files is done" "succeeded SUCCESS"
expect "store" "is a success" "succeeded SUCCESS"
check "each was run once" equal "$(sort "$WINEPREFIX/drive_c/dripfeed/order" | tr -d '\r ' | tr '\n' ' ')" \
  'execute launch0 launch1641 launch3010 launch3011 launch7 '
check "commands see the files of the package" equal "$(cat "$WINEPREFIX/drive_c/dripfeed/typed")" content
check "commands see their package" equal "$(tr -d '\r ' <"$WINEPREFIX/drive_c/dripfeed/id")" "${package[command]}"
stored="$WINEPREFIX/drive_c/Program Files/A tool"
check "what is stored is there, byte for byte" cmp "$stored/payload" "$setup/payload"
check "below directories as well" cmp "$stored/sub dir/file.txt" "$setup/sub dir/file.txt"
check "nothing of them is left" equal "$(agent status --json | json packages 0)" ""

# -------------------------------------------------------------------------------------------------------- time-out

printf '@echo off\r\nstart /b cmd /d /c grow.cmd\r\ncall grow.cmd\r\n' >"$setup/long.cmd"
printf ':again\r\necho x >>C:\\dripfeed\\%%RANDOM%%.grown\r\nping -n 2 127.0.0.1 >nul\r\ngoto again\r\n' >"$setup/grow.cmd"
(cd "$setup" && zip -q "$work/long.zip" long.cmd grow.cmd)
make "long" "$work/long.zip" --action launch --command long.cmd
check "a command that runs too long is ended after a minute" expect_code 0 agent once
expect "long" "the time-out is told" "failed ERR_EXECUTE_TIMEOUT"
grown() { find "$WINEPREFIX/drive_c/dripfeed" -name '*.grown' -printf '%s ' | wc -c; }
check "it did run" test "$(grown)" -gt 0
before=$(grown)
sleep 3
check "and everything that it had started is ended" equal "$(grown)" "$before"

# ---------------------------------------------------------------------------------------------------------- people

# Wine sends no messages to sessions, so what is seen here is the agent's own message box.
ask=(--action execute --command 'echo ran>>C:\dripfeed\asked' --notify-text 'Save &amp; <b>close</b>')
make "nobody sees it" "${ask[@]}" --notify-countdown 2 --can-abort --can-delay
check "a question that cannot be shown does not hold a package up" expect_code 0 agent once
expect "nobody sees it" "its countdown goes on" "succeeded SUCCESS"
# What runs already has no screen.
wineserver -k 2>/dev/null || true
timeout 60 wineserver -w
exec 5>"$work/display"
Xvfb -displayfd 5 -screen 0 800x600x24 -nolisten tcp </dev/null >/dev/null 2>&1 &
screen_pid=$!
exec 5>&-
wait_until 30 test -s "$work/display" || die "Xvfb does not start"
DISPLAY=:$(cat "$work/display")
export DISPLAY
window() { xdotool search --name '^Software installation$' 2>/dev/null | tail -n 1; }
is_asked() { [ -n "$(window)" ]; }
answer() { # answer KEY: until the agent has ended, for a key may come before the window listens
  local asked
  agent once >>"$work/verbs.log" &
  asked=$!
  wait_until 60 is_asked || { end_process "$asked"; return 1; }
  while kill -0 "$asked" 2>/dev/null; do
    xdotool windowfocus "$(window)" key "$1" 2>/dev/null || true
    sleep 0.5
  done
  wait "$asked"
}
make "refused" "${ask[@]}" --notify-countdown 600 --can-abort --can-delay
check "a question is shown, and answered with No" answer n
expect "refused" "the person refuses" "failed ERR_ABORTED"
make "wanted" "${ask[@]}" --notify-countdown 600 --can-abort
check "another is answered with Yes" answer y
expect "wanted" "it is done" "succeeded SUCCESS"
make "put off" "${ask[@]}" --notify-countdown 0 --can-delay
check "another is put off with No" answer n
check "put off: nothing is told" matches "$(result_of "${package["put off"]}" "$device")" '^(offered|downloading)'
check "and it is asked again, with Yes" answer y
expect "put off" "it is done then" "succeeded SUCCESS"
make "not answered" "${ask[@]}" --notify-countdown 3
check "a question that nobody answers" expect_code 0 agent once
expect "not answered" "goes on when its countdown ends" "succeeded SUCCESS"
check "nothing is shown any more" fails is_asked
check "what was refused did not run" equal "$(tr -d '\r' <"$WINEPREFIX/drive_c/dripfeed/asked" | tr '\n' ' ')" 'ran ran ran ran '
unset DISPLAY
wineserver -k 2>/dev/null || true
timeout 60 wineserver -w
end_process "$screen_pid"
screen_pid=

# --------------------------------------------------------------------------------------------------------- service

# Wine ends its services with the last program that is none.
wine ping -n 600 127.0.0.1 </dev/null >/dev/null 2>&1 &
companion=$!
check "a service that is not there cannot be started" expect_code 2 agent service start
check "it is installed" expect_code 0 agent service install
event_source='HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application\dripfeed-agent'
knows_source() { wine reg query "$event_source" </dev/null 2>/dev/null | grep -q "$1"; }
check "the event log knows how to read its entries" knows_source 'EventCreate.exe'
check "but not twice" expect_code 2 agent service install
make "by service" "$work/setup.zip" --action launch --command "my-setup.cmd 0"
check "it starts" expect_code 0 agent service start
check "it carries out a package" wait_until 60 is_closed "${package[by service]}" "$device"
expect "by service" "is a success" "succeeded SUCCESS"
check "a second agent is refused meanwhile" expect_code 1 agent once
check "it stops" expect_code 0 agent service stop
check "it writes a log" grep -q 'the service ends' "$program_data/agent.log"
check "it is removed" expect_code 0 agent service remove
check "from the event log, too" fails knows_source EventMessageFile
check "what it keeps is still there" test -s "$state/ocsinv.conf"

say "$((SECONDS - began)) s without what was installed"
summary
