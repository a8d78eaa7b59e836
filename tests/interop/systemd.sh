#!/bin/bash
# The units of dist/systemd under a real systemd: server, agent and mirror on a machine of their own.
#
#   cargo build --release && tests/interop/systemd.sh
#
# Needs root on Debian 12. It takes dripfeed, dripfeed-agent and dripfeed-mirror from target/release, or the programs that
# $DRIPFEED, $DRIPFEED_AGENT and $DRIPFEED_MIRROR name. The machine is this one's file system under a layer in memory,
# with processes, mounts, users of the network (loopback alone) and control groups of its own, and systemd as its first
# process; nothing of it is seen outside, and it ends with this script. Where such a machine may not be made it says
# so and fails, or, with SKIP_WITHOUT_ROOT=1, says so and succeeds. KEEP=1 leaves the journal behind.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly FRAGMENTS=12
readonly RATE=100000 # bytes a second that the agent may fetch
readonly BODY=900000 # bytes of the package whose download is cut

NAME=systemd
. tests/interop/lib.sh
begin
need_mirror
install_packages systemd zip
began=$SECONDS

# ------------------------------------------------------------------------------------------------------ the machine

make_work dripfeed-systemd
units=(dripfeed dripfeed-agent dripfeed-mirror-sync dripfeed-mirror-serve)
machine=
holder=
finish() {
  local status=$?
  trap - EXIT
  if [ -n "$machine" ] && { [ "$status" != 0 ] || [ "$failed" != 0 ] || [ "${KEEP:-0}" = 1 ]; }; then
    inside journalctl --no-pager -o short-monotonic >"$work/journal" 2>/dev/null || true
    [ "$status" = 0 ] && [ "$failed" = 0 ] || tell_logs "$work/machine.log" "$work/verbs.log" "$work/journal"
  fi
  if [ -n "$holder" ]; then
    # With it ends the first process of the machine, and with that the machine.
    kill -9 "$holder" 2>/dev/null || true
    wait "$holder" 2>/dev/null || true
  fi
  remove_work
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

install -d "$work/machine"
cat >"$work/boot" <<'BOOT'
set -eu
mount --make-rprivate /
mount -t tmpfs -o mode=755 none "$1"
cd "$1"
mkdir layer scratch root
mount -t overlay -o lowerdir=/,upperdir="$1/layer",workdir="$1/scratch" overlay root
cd root
mount -t proc proc proc
# What the kernel is set to is everybody's: not to be changed from in here.
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 none run
mount -t tmpfs -o mode=1777 none tmp
mount -t tmpfs -o mode=755 none dev
for device in null zero full random urandom tty; do
  : >"dev/$device"
  mount --bind "/dev/$device" "dev/$device"
done
: >dev/console
mount --bind "$2" dev/console
mkdir dev/shm dev/pts
mount -t tmpfs -o mode=1777 none dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
# Of this machine's services none is started, and nothing that would reach for its hardware.
rm -rf etc/systemd/system/*.wants etc/systemd/system/*.requires
for unit in systemd-sysctl systemd-modules-load systemd-remount-fs systemd-udevd systemd-udev-trigger \
  systemd-tmpfiles-setup-dev systemd-update-utmp systemd-firstboot systemd-machine-id-commit; do
  ln -sf /dev/null "etc/systemd/system/$unit.service"
done
: >etc/fstab
ip link set lo up
mkdir outside
pivot_root . outside
umount -l outside
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=basic.target --show-status=no
BOOT
: >"$work/machine.log"
unshare --pid --mount --cgroup --uts --ipc --net --fork --kill-child \
  sh "$work/boot" "$work/machine" "$work/machine.log" </dev/null >>"$work/machine.log" 2>&1 &
holder=$!
# systemd is the one child of the process that holds the namespaces.
first_process() { machine=$(cat "/proc/$holder/task/$holder/children" 2>/dev/null) && machine=${machine// /} && [ -n "$machine" ]; }
inside() {
  nsenter --target "$machine" --mount --pid --net --uts --ipc --cgroup -- \
    env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 "$@" </dev/null
}
is_up() {
  kill -0 "$holder" 2>/dev/null || return 0
  first_process && matches_quietly "$(inside systemctl is-system-running 2>/dev/null)" 'running|degraded'
}
matches_quietly() { grep -qE -- "$2" <<<"$1"; }
wait_until 60 is_up || true
if [ -z "$machine" ] || ! kill -0 "$holder" 2>/dev/null; then
  machine=
  say "SKIPPED: a machine with systemd as its first process may not be made here: $(tail -n 3 "$work/machine.log" | tr '\n' ' ')"
  [ "${SKIP_WITHOUT_ROOT:-0}" = 1 ] || exit 1
  printf '0 passed, 0 failed\n'
  exit 0
fi
say "$(inside systemctl --version | head -n 1) is up after $((SECONDS - began)) s: $(inside systemctl is-system-running || true)"

layer=/proc/$machine/root # as this script sees the machine's files
for program in "$dripfeed" "$dripfeed_agent" "$dripfeed_mirror"; do
  install -m 755 "$program" "$layer/usr/local/bin/"
done
install -m 644 dist/systemd/* "$layer/etc/systemd/system/"
for user in dripfeed dripfeed-mirror; do
  inside useradd --system --home-dir /nonexistent --shell /usr/sbin/nologin "$user"
done
inside systemctl daemon-reload

verb() { inside setpriv --reuid dripfeed --regid dripfeed --clear-groups dripfeed "$@" --data-dir /var/lib/dripfeed; }
state_of() { inside systemctl show --property="$2" --value "$1"; } # state_of UNIT PROPERTY
is_active() { [ "$(state_of "$1" ActiveState)" = active ]; }
journal() { inside journalctl --no-pager --output cat --unit "$1"; }
says() { grep -qF -- "$2" <<<"$(journal "$1")"; } # says UNIT TEXT

# -------------------------------------------------------------------------------------------------------- the units

for unit in "${units[@]}"; do
  check "$unit.service is sound" equal "$(inside systemd-analyze verify --man=no "$unit.service" 2>&1)" ""
done
check "dripfeed-mirror-sync.timer is sound" equal "$(inside systemd-analyze verify --man=no dripfeed-mirror-sync.timer 2>&1)" ""
exposure() { inside systemd-analyze security --no-pager "$1.service" | sed -nE 's/.*exposure level for .*: ([0-9.]+) .*/\1/p'; }
for unit in "${units[@]}"; do say "exposure of $unit as systemd counts it: $(exposure "$unit") of 10"; done
for unit in dripfeed dripfeed-mirror-sync dripfeed-mirror-serve; do
  check "$unit is closed (exposure below 2)" matches "$(exposure "$unit")" '^[01]\.'
done

# -------------------------------------------------------------------------------------------------------- the server

inside install -d -o dripfeed -g dripfeed -m 750 /var/lib/dripfeed
cat >"$layer/var/lib/dripfeed/dripfeed.toml" <<'TOML'
public_name = "localhost"
http = "127.0.0.1:8079" # the mirror's unit has 8080
[settings]
DOWNLOAD_FRAG_LATENCY = 0
DOWNLOAD_CYCLE_LATENCY = 0
DOWNLOAD_PERIOD_LATENCY = 0
TOML
inside systemctl start dripfeed
check "the server is active" wait_until 30 inside test -s /var/lib/dripfeed/addresses.json
wait_until 30 is_active dripfeed
check "its directory is nobody else's" equal "$(inside stat -c '%U %a' /var/lib/dripfeed)" "dripfeed 750"
check "it reloads" inside systemctl reload dripfeed
check "and goes on" is_active dripfeed
address=$(json https <"$layer/var/lib/dripfeed/addresses.json")
http=$(json http <"$layer/var/lib/dripfeed/addresses.json")
https_port=${address##*:}
http_port=${http##*:}

# --------------------------------------------------------------------------------------------------------- the agent

inside install -d -m 755 /etc/dripfeed /etc/dripfeed-agent
inside install -m 644 /var/lib/dripfeed/certs/ca.pem /etc/dripfeed/ca.pem
agent_toml() { # agent_toml LINE…
  printf '%s\n' "server = \"https://localhost:$https_port/ocsinventory\"" 'ca = "/etc/dripfeed/ca.pem"' \
    'start_delay = 0' "bandwidth = \"$RATE\"" "$@" >"$layer/etc/dripfeed-agent/dripfeed-agent.toml"
}
agent_toml
# The unit's own times are for a year, not for a test.
inside install -d /etc/systemd/system/dripfeed-agent.service.d
printf '[Service]\nWatchdogSec=4s\nRestartSec=1s\n' >"$layer/etc/systemd/system/dripfeed-agent.service.d/test.conf"
inside systemctl daemon-reload
check "the agent says that it is ready, and is active" inside systemctl start dripfeed-agent
device() { sed -n 's:.*<DEVICEID>\(.*\)</DEVICEID>.*:\1:p' "$layer"/var/lib/dripfeed-agent/*/ocsinv.conf 2>/dev/null | head -n 1; }
has_checked_in() { says dripfeed-agent "contact with"; }
check "it checks in" wait_until 30 has_checked_in
device=$(device)
check "it says who it is of whom" matches "$(state_of dripfeed-agent StatusText)" "$device of https://localhost"
check "its directory is nobody else's" equal "$(inside stat -c '%U %a' /var/lib/dripfeed-agent)" "root 700"
state=$(cd "$layer" && printf '%s' var/lib/dripfeed-agent/*/)
contact() { inside systemctl restart dripfeed-agent; }

declare -A package
make() { # make NAME BUILD-ARGUMENTS…: built, activated and assigned
  local name=$1 id
  shift
  id=$(verb package build "$@" --name "$name" --version 1.0 --os linux 2>>"$work/verbs.log" | grep -oE '[0-9]{6,}' | head -n 1)
  package[$name]=$id
  {
    verb activate "$id" --info-location "localhost:$https_port/download" --fragment-location "localhost:$http_port/download"
    verb assign "$id" --computer "$device"
  } >>"$work/verbs.log" 2>&1 || die "\"$name\" could not be published"
}
is_told() { is_closed "${package[$1]}" "$device"; }
expect() { check "$1: $2" equal "$(result_of "${package[$1]}" "$device")" "$3"; }

# What installers do, and what the hardening must leave open: a set-uid program, a user, a package of the system, a service.
mkdir -p "$work/deb/DEBIAN" "$work/deb/opt/tool" "$work/tree"
printf 'Package: dripfeed-test-tool\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDescription: a test\n' \
  >"$work/deb/DEBIAN/control"
printf 'tool\n' >"$work/deb/opt/tool/file"
dpkg-deb --build --root-owner-group "$work/deb" "$work/tree/tool.deb" >>"$work/verbs.log"
cat >"$work/tree/setup.sh" <<'SETUP'
#!/bin/sh
set -ex
dpkg --install tool.deb
useradd --system tool-user
install -m 4755 /bin/true /usr/local/bin/tool
install -o tool-user -m 600 /dev/null /etc/tool.conf
printf '[Service]\nType=notify\nExecStart=/bin/sh -c "systemd-notify --ready; exec sleep infinity"\nNotifyAccess=all\n' \
  >/etc/systemd/system/tool.service
systemctl daemon-reload
systemctl start tool.service
env >/opt/tool/environment
SETUP
tar -C "$work/tree" -czf "$layer/tmp/setup.tgz" .
make "installer" /tmp/setup.tgz --action launch --command setup.sh
contact
check "a package is carried out" wait_until 60 is_told "installer"
expect "installer" "installs as without the unit" "succeeded SUCCESS"
check "a package of Debian is there" inside test -s /opt/tool/file
check "a set-uid program, too" equal "$(inside stat -c %a /usr/local/bin/tool)" 4755
check "and a user's file" equal "$(inside stat -c %U /etc/tool.conf)" tool-user
check "a service that a package starts is its own" is_active tool
check "and the command was told nothing that was meant for the agent" fails \
  inside grep -E '^(NOTIFY_SOCKET|WATCHDOG_|LISTEN_|INVOCATION_ID|STATE_DIRECTORY|JOURNAL_STREAM)' /opt/tool/environment

# ------------------------------------------------------------------------------------------------ stop, in a download

head -c "$BODY" /dev/urandom >"$work/payload"
tar -C "$work" -czf "$layer/tmp/large.tgz" payload
make "large" /tmp/large.tgz --action store --path /opt/large --fragments "$FRAGMENTS"
contact
first() { printf '%s/%sdownload/%s/%s-1' "$layer" "$state" "${package[large]}" "${package[large]}"; }
check "a download is under way" wait_until 60 test -s "$(first)"
inode=$(stat -c %i "$(first)" || true)
stopping=$SECONDS
check "the agent stops in the middle of it" inside systemctl stop dripfeed-agent
check "at once" test $((SECONDS - stopping)) -lt 15
check "by itself, not by force" equal "$(state_of dripfeed-agent Result)" success
check "nothing was told yet" fails is_told "large"
check "what came is kept" equal "$(stat -c %i "$(first)" || true)" "$inode"
inside systemctl start dripfeed-agent
check "the download goes on with the next start" wait_until 90 is_told "large"
expect "large" "is stored" "succeeded SUCCESS"
check "byte for byte" cmp "$work/payload" "$layer/opt/large/payload"
stored=$(grep -cF "of package ${package[large]}" <<<"$(journal dripfeed-agent | grep -F 'stored fragment')" || true)
check "no fragment came twice" equal "$stored" "$FRAGMENTS"

# --------------------------------------------------------------------------------------- reload, watchdog, sudden end

pid=$(state_of dripfeed-agent MainPID)
agent_toml 'tag = "RELOADED"'
check "it reloads" inside systemctl reload dripfeed-agent
check "which it says" wait_until 30 says dripfeed-agent "the configuration is read again"
check "it is the same process" equal "$(state_of dripfeed-agent MainPID)" "$pid"
check "and active" wait_until 30 is_active dripfeed-agent

restarts=$(state_of dripfeed-agent NRestarts)
inside kill -STOP "$pid"
was_restarted() { [ "$(state_of dripfeed-agent NRestarts)" -gt "$restarts" ] && is_active dripfeed-agent; }
check "an agent that hangs is started again by the watchdog" wait_until 60 was_restarted
check "because of the watchdog" says dripfeed-agent "Watchdog timeout"

make "cut" --action execute --command 'echo begun >>/opt/begun; exec sleep 600'
contact
check "a command runs" wait_until 60 inside test -s /opt/begun
inside systemctl kill --kill-whom=all --signal=KILL dripfeed-agent
check "what was cut with the agent is told by the next one" wait_until 60 is_told "cut"
expect "cut" "is told as cut" "failed ERR_EXECUTE_INTERRUPTED"
check "and is not repeated" equal "$(inside cat /opt/begun)" begun

printf 'server = ' >"$layer/etc/dripfeed-agent/dripfeed-agent.toml"
inside systemctl stop dripfeed-agent
check "a configuration that is none does not start" fails inside systemctl start dripfeed-agent
check "and is not tried again" equal "$(sleep 3; state_of dripfeed-agent ActiveState)" failed
agent_toml
inside systemctl reset-failed dripfeed-agent

# --------------------------------------------------------------------------------------------- an update of the agent

# As fast as it can: an agent's program is larger than what is paced here.
sed -i '/^bandwidth/d' "$layer/etc/dripfeed-agent/dripfeed-agent.toml"
inside systemctl start dripfeed-agent
# Another program that is the same agent, and one that says it is and does not stay.
cp "$dripfeed_agent" "$work/new-agent" && printf '\n' >>"$work/new-agent"
printf '#!/bin/sh\n[ "$1" = --version ] && echo "dripfeed-agent 99.0" && exit 0\nexit 1\n' >"$work/bad-agent"
update() { # update NAME FILE: by the template that comes with the program
  install -D -m 644 "$2" "$layer/tmp/$1/dripfeed-agent"
  make "$1" "/tmp/$1/dripfeed-agent" --template agent-linux --set unit=dripfeed-agent.service \
    --set program=/usr/local/bin/dripfeed-agent
  contact
}
is_old() { inside test ! -e /run/systemd/transient/dripfeed-agent-update.service; }
update "bad update" "$work/bad-agent"
check "an agent that does not stay is told" wait_until 90 is_told "bad update"
expect "bad update" "by the old one" "failed ERR_EXIT_CODE_70"
check "which is there again" wait_until 30 cmp "$dripfeed_agent" "$layer/usr/local/bin/dripfeed-agent"
check "and active" wait_until 30 is_active dripfeed-agent
check "the second half has ended" wait_until 30 is_old
inside systemctl reset-failed 'dripfeed-agent*' || true
update "good update" "$work/new-agent"
check "an agent that comes is told" wait_until 90 is_told "good update"
expect "good update" "by itself" "succeeded SUCCESS"
check "it is the new program" cmp "$work/new-agent" "$layer/usr/local/bin/dripfeed-agent"
check "it runs" equal "$(inside readlink "/proc/$(state_of dripfeed-agent MainPID)/exe")" /usr/local/bin/dripfeed-agent
is_clean() { [ -z "$(inside find /usr/local/bin -name '.dripfeed-agent.*')" ]; }
check "nothing of the update is left" wait_until 30 is_clean
agent_toml
inside systemctl restart dripfeed-agent

# ------------------------------------------------------------------------------------------------------- a full disk

inside install -d -m 700 /mnt/small
# More than the agent leaves to everybody else (64 MiB).
inside mount -t tmpfs -o size=72m,mode=700 none /mnt/small
small() { inside dripfeed-agent once --data-dir /mnt/small >>"$work/verbs.log" 2>&1; }
check "another agent, on a small disk" small
device=$(sed -n 's:.*<DEVICEID>\(.*\)</DEVICEID>.*:\1:p' "$layer"/mnt/small/*/ocsinv.conf)
fill='echo done >>/opt/filled; cat /dev/zero >../zero 2>/dev/null; true'
head -c 200000 /dev/urandom >"$work/part"
tar -C "$work" -czf "$layer/tmp/part.tgz" part
make "fills, with fragments" /tmp/part.tgz --action execute --command "$fill"
small || true
expect "fills, with fragments" "the fragments make room for the result" "succeeded SUCCESS"
make "fills, without" --action execute --command "$fill"
small || true
expect "fills, without" "a result that no disk takes is told as that" "failed ERR_DONE_FAILED"
check "nothing is left of either, and the disk is free again" equal "$(inside find /mnt/small -name zero)" ""
small || true
check "each was executed once" equal "$(inside cat /opt/filled | tr '\n' ' ')" "done done "
inside sh -c 'cat /dev/zero >/mnt/small/zero 2>/dev/null; true'
make "waits for room" --action execute --command 'echo done >>/opt/waited'
check "an agent starts on a full disk" inside systemd-run --quiet --unit=small dripfeed-agent run --data-dir /mnt/small
check "and says what it cannot keep" wait_until 60 says small "what the server said cannot be kept"
check "which does not end it" is_active small
inside rm -f /mnt/small/zero
check "when there is room it goes on by itself" wait_until 150 is_told "waits for room"
expect "waits for room" "is a success" "succeeded SUCCESS"
check "and is the same process" equal "$(state_of small NRestarts)" 0
inside systemctl stop small

# -------------------------------------------------------------------------------------------------------- the mirror

token=$(verb mirror add here '$IP$:8080/download' --json | json token)
printf 'MIRROR_FROM=https://localhost:%s/download\nMIRROR_CA=/etc/dripfeed/ca.pem\nDRIPFEED_MIRROR_TOKEN=%s\n' \
  "$https_port" "$token" >"$layer/etc/dripfeed/mirror.env"
inside chmod 600 /etc/dripfeed/mirror.env
inside systemctl start dripfeed-mirror-serve
check "a mirror without a copy serves nothing" equal "$(state_of dripfeed-mirror-serve ActiveState)" inactive
check "a sync comes to its end" inside systemctl start dripfeed-mirror-sync
copy=/var/lib/dripfeed-mirror/download/${package[large]}/${package[large]}-1
check "the tree is there, for everybody to read" equal "$(inside stat -c '%U %a' "$copy")" "dripfeed-mirror 644"
inside systemctl start dripfeed-mirror-serve
fetched() { inside sh -c "curl --silent --fail http://localhost:8080/download/${package[large]}/${package[large]}-1 | cmp - $copy"; }
check "it is served, byte for byte" wait_until 20 fetched
check "the service is active" is_active dripfeed-mirror-serve
check "the timer starts" inside systemctl start dripfeed-mirror-sync.timer

check "all of it ends when it is told to" inside systemctl stop dripfeed dripfeed-agent dripfeed-mirror-serve dripfeed-mirror-sync.timer
check "nothing has failed" equal "$(inside systemctl list-units --failed --plain --no-legend 'dripfeed*')" ""

say "$((SECONDS - began)) s without what was installed"
summary
