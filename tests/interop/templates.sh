#!/bin/bash
# What templates add to packages, run with Debian's own apt and gpg, and with the stock agent's tree: built by the command line,
# taken out of the fragment as an agent does, in an apt and a directory of their own. Nothing of this machine is changed.
#
#   cargo build --release && tests/interop/templates.sh
#
# Needs root on Debian 12 (the stock agent is installed if it is missing). It takes dripfeed from target/release, or the program that
# $DRIPFEED names. Without root it says so and fails, or, with SKIP_WITHOUT_ROOT=1, says so and succeeds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

NAME=templates
. tests/interop/lib.sh
begin
install_packages gpg "${stock_agent_packages[@]}"
make_work dripfeed-templates
data=$work/data
finish() {
  local status=$?
  trap - EXIT
  GNUPGHOME=$work/gpg gpgconf --kill gpg-agent 2>/dev/null || true
  if [ "$status" != 0 ] || [ "$failed" != 0 ]; then tell_logs "$work"/*.log; fi
  remove_work
  exit "$status"
}
trap finish EXIT

# unpacked NAME ARGUMENTS…: a package of a template, as an agent unpacks it, in $work/NAME
unpacked() {
  local name=$1 id
  shift
  id=$(build "$@" --name "$name" 2>>"$work/verbs.log") || die "$name was not built"
  mkdir -p "$work/$name"
  tar -C "$work/$name" -xzf "$data/download/$id/$id-1"
}

# ------------------------------------------------------------------------------------------------------------- apt

apt=$work/apt
mkdir -p "$apt"/etc/apt/{sources.list.d,preferences.d,apt.conf.d} "$apt"/var/lib/apt/lists/partial "$apt"/var/cache/apt/archives/partial
touch "$apt/status"
cat >"$work/apt.conf" <<CONF
Dir "$apt/";
Dir::Etc "etc/apt";
Dir::State "var/lib/apt";
Dir::State::status "$apt/status";
Dir::Cache "var/cache/apt";
Dir::Bin::methods "/usr/lib/apt/methods";
APT::Sandbox::User "root";
CONF
install -d -m 700 "$work/gpg"
gpg() { GNUPGHOME=$work/gpg command gpg --batch --quiet "$@" 2>>"$work/gpg.log"; }
gpg --passphrase '' --quick-gen-key ours@example.org rsa2048 sign 0
gpg --passphrase '' --quick-gen-key other@example.org rsa2048 sign 0
gpg --armor --export ours@example.org >"$work/ours.asc"
gpg --armor --export other@example.org >"$work/other.asc"
repository=$work/repository
mkdir -p "$repository" "$work/deb/DEBIAN"
printf 'Package: dripfeed-test-tool\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDescription: a test\n' \
  >"$work/deb/DEBIAN/control"
dpkg-deb --build --root-owner-group "$work/deb" "$repository/tool.deb" >>"$work/verbs.log"
{
  cat "$work/deb/DEBIAN/control"
  printf 'Filename: ./tool.deb\nSize: %s\nSHA256: %s\n' "$(stat -c %s "$repository/tool.deb")" "$(sha256sum <"$repository/tool.deb" | cut -d' ' -f1)"
} >"$repository/Packages"
printf 'Origin: test\nDate: %s\nSHA256:\n %s %s Packages\n' "$(LC_ALL=C date -Ru)" "$(sha256sum <"$repository/Packages" | cut -d' ' -f1)" \
  "$(stat -c %s "$repository/Packages")" >"$repository/Release"
gpg --local-user ours@example.org --clearsign --output "$repository/InRelease" "$repository/Release"

apt_repository() { # apt_repository NAME KEY: adds it, in the apt of this test
  unpacked "$1" --template apt-repo --set "name=$1" --set "url=file:$repository" --set suites=./ --set components= --set "key=$(cat "$2")"
  (cd "$work/$1" && APT_CONFIG=$work/apt.conf sh ./add-repository.sh >>"$work/apt.log" 2>&1)
}
check "apt reads a repository with its key" apt_repository ours "$work/ours.asc"
check "and knows what is in it" matches "$(APT_CONFIG=$work/apt.conf apt-cache policy dripfeed-test-tool)" 'Candidate: 1.0'
check "a repository that is signed by somebody else is refused" fails apt_repository other "$work/other.asc"
check "and leaves nothing" equal "$(cd "$apt/etc/apt" && find . -name 'other.*')" ""
check "what was there before is there" test -s "$apt/etc/apt/sources.list.d/ours.sources"
before=$(sha256sum <"$apt/etc/apt/keyrings/ours.asc")
cp "$work/other.asc" "$work/again.asc"
check "a change that apt cannot read is taken back" fails apt_repository ours "$work/again.asc"
check "to the byte" equal "$(sha256sum <"$apt/etc/apt/keyrings/ours.asc")" "$before"

# ------------------------------------------------------------------------------------------------- the stock agent

tree=$work/perl
mkdir -p "$tree" "$work/etc/ocsinventory"
cp -r /usr/share/perl5/Ocsinventory "$tree/"
cp /etc/ocsinventory/modules.conf "$work/etc/ocsinventory/"
cat >"$work/Weather.pm" <<'PERL'
package Ocsinventory::Agent::Modules::Weather;
sub new { my ($name, $context) = @_; return bless {}, $name }
1;
PERL
unpacked module "$work/Weather.pm" --template ocs-plugin
sed -i "s|^etc=/etc\$|etc=$work/etc|" "$work/module/add-module.sh"
check "a module goes into the stock agent's tree" env PERL5LIB="$tree" sh -c "cd '$work/module' && sh ./add-module.sh >>'$work/module.log' 2>&1"
check "and into its list, before the end" equal "$(grep -v '^#' "$work/etc/ocsinventory/modules.conf" | grep . | tail -n 2 | tr '\n' ' ')" \
  "use Ocsinventory::Agent::Modules::Weather; 1; "
check "which Perl reads" env PERL5LIB="$tree" perl "$work/etc/ocsinventory/modules.conf"
summary
