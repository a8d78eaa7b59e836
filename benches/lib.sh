# What the scripts that load a server with a fleet share. Sourced, with `set -euo pipefail` and the repository's root as
# working directory.

target=${CARGO_TARGET_DIR:-$PWD/target}/release
dripfeed=${DRIPFEED:-$target/dripfeed}
fleet=${FLEET:-$target/examples/fleet}
fill=${FILL:-$target/examples/fill}
server='' started=''
# What the server runs under, such as taskset.
under=()

# need PROGRAM…: those that cargo builds, and tools
need() {
  local program
  for program in "$@"; do
    command -v "$program" >/dev/null || {
      echo "$0 needs $program; ours: cargo build --release && cargo build --release --example fleet --example fill --example readers" >&2
      exit 2
    }
  done
}

# about COMMAND…: what a figure is worth nothing without
about() {
  printf 'machine  %s, %s processors, %s MiB, Linux %s; load average %s before\n' \
    "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)" \
    $(($(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo) / 1024)) "$(uname -r)" "$(cut -d' ' -f1-3 /proc/loadavg)"
  printf 'commit   %s\n' "$(git describe --always --dirty 2>/dev/null || echo unknown)"
  printf 'command  %s\n\n' "$*"
}

# serve DIRECTORY: sets server, http and https
serve() {
  mkdir -p "$1"
  [ -e "$1/dripfeed.toml" ] || printf '[log]\nlevel = "error"\n' >"$1/dripfeed.toml"
  rm -f "$1/addresses.json"
  "${under[@]}" "$dripfeed" serve --data-dir "$1" --http 127.0.0.1:0 --https 127.0.0.1:0 >/dev/null &
  server=$!
  until [ -s "$1/addresses.json" ]; do
    kill -0 "$server" || { echo "the server ended right after its start" >&2; exit 1; }
    sleep 0.1
  done
  http=$(sed -n 's/.*"http": *"\([^"]*\)".*/\1/p' "$1/addresses.json")
  https=$(sed -n 's/.*"https": *"\([^"]*\)".*/\1/p' "$1/addresses.json")
}

# json PATH…: a value of the document on standard input; nothing if it is not there
json() {
  perl -MJSON::PP -0777 -e '
    my $value = JSON::PP->new->allow_nonref->decode(<STDIN>);
    for (@ARGV) { $value = ref $value eq "ARRAY" ? $value->[$_] : ref $value eq "HASH" ? $value->{$_} : undef; }
    print $value // "";' -- "$@"
}
