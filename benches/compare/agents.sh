#!/bin/bash
# What agents send, to a stock OCS server and to ours, in turns: prologs, status reports, inventories of 100 to 200 KiB.
#
#   benches/compare/agents.sh [SECONDS] [ROUNDS] [CLIENTS] [COMPUTERS]       default: 5 s a turn, 3 rounds, 8 clients, 400 computers
#
# Needs root on Debian 12 (the packages of the stock server are installed) and a release build with the example fleet. Each turn is
# the same run of the simulator; both servers are up all the time, and the one that is not asked is idle. CPU and memory are the
# server's with all its processes, MariaDB included. "First" inventories hold other programs than the ones before, the others change
# as a day changes a computer. The stock server's answers other than 200 are counted as errors and not as answers.
set -euo pipefail
seconds=${1:-5} rounds=${2:-3} clients=${3:-8} computers=${4:-400}
cd "$(dirname "$0")/../.."
NAME=compare
. tests/interop/lib.sh
. benches/lib.sh
. benches/compare/stock.sh
need "$dripfeed" "$fleet" perl
[ "$(id -u)" = 0 ] || die "run me as root: the stock server's packages are installed"
make_work dripfeed-compare
finish() {
  local status=$?
  trap - EXIT
  end_process "$server"
  stop_stock
  [ "$status" = 0 ] || tell_logs "$work/mysql/log" "$work/apache/error.log" "$work/server.log"
  remove_work
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
about benches/compare/agents.sh "$seconds" "$rounds" "$clients" "$computers"

start_stock
mkdir "$work/data"
printf '[log]\nlevel = "error"\n[settings]\nFREQUENCY = 0\n' >"$work/data/dripfeed.toml"
serve "$work/data" 2>"$work/server.log"
ours_url=http://$http/ocsinventory

# load SIDE FILE ARGUMENT…: a run against one of the two
load() {
  local side=$1 file=$2 url=$ours_url pids=("$server")
  shift 2
  [ "$side" = ours ] || { url=$stock_url pids=("${stock_pids[@]}"); }
  "$fleet" --server "$url" "${pids[@]/#/--server-pid=}" --connections kept --arrive "clients:$clients" --json "$@" >"$file" || [ -s "$file" ]
}
for side in stock ours; do
  load "$side" "$work/enrol" --what inventory --agents "$computers" --inventory 2-3
  say "$side: $(json requests inventory requests <"$work/enrol") of $computers computers enrolled"
done
stock_package=$(assign_stock)
data=$work/data
ours_package=$(verb package build --name bench --version 1 --os linux --action execute --command true 2>/dev/null)
verb activate "$ours_package" --no-check >/dev/null 2>&1
verb assign "$ours_package" --all >/dev/null 2>&1

# compare TITLE KIND ARGUMENT…: alternates, prints a line a round
compare() {
  local title=$1 kind=$2 round side package
  shift 2
  for round in $(seq "$rounds"); do
    for side in stock ours; do
      package=stock_package
      [ "$side" = stock ] || package=ours_package
      load "$side" "$work/$side.json" --what "$kind" --seconds "$seconds" --package "${!package}" "${@//ROUND/$round}"
    done
    perl -MJSON::PP -e '
      my ($title, $kind, $round, @files) = @ARGV;
      my ($stock, $ours) = map { local (@ARGV, $/) = $_; decode_json(<>) } @files;
      my $of = sub { $_[0]{requests}{$kind}{$_[1]} // 0 };
      my $ratio = sub { $_[1] ? $_[0] / $_[1] : 0 };
      my ($rate, $p99) = map { my $key = $_; [map { $of->($_, $key) } $stock, $ours] } "per_second", "p99_us";
      my @cpu = map { $_->{server}{cpu_us_per_request} } $stock, $ours;
      printf "%-16s %5d %9.1f %9.1f %7.1f x %9.1f %9.1f %10.2f %8.3f %7.1f x %7d %6d\n", $title, $round, @$rate,
        $ratio->(reverse @$rate), (map { $_ / 1000 } @$p99), (map { $_ / 1000 } @cpu), $ratio->(@cpu), map { $_->{failed} } $stock, $ours;
      printf "    stock: %d x %s\n", @$_{qw(count error)} for @{$stock->{errors}};
      printf "    ours: %d x %s\n", @$_{qw(count error)} for @{$ours->{errors}};
    ' "$title" "$kind" "$round" "$work/stock.json" "$work/ours.json"
  done
}
printf '%-16s %5s %9s %9s %9s %9s %9s %10s %8s %9s %7s %6s\n' '' round 'stock /s' 'ours /s' ratio 'stock p99' 'ours p99' \
  'stock CPU' 'ours CPU' ratio 'errors' 'ours'
compare prolog prolog --agents "$computers" --rounds 1000 --read-every 16
compare report report --agents "$computers" --rounds 1000
compare 'inventory first' inventory --agents $((computers < 200 ? computers : 200)) --seed 1ROUND
again=(--agents $((computers < 40 ? computers : 40)) --seed 2)
for side in stock ours; do
  load "$side" "$work/known" --what inventory "${again[@]}"
done
compare 'inventory again' inventory "${again[@]}" --rounds 40
printf '\nlatencies and CPU of a request in ms; peak memory: stock %s MiB (shared pages counted in each process), ours %s MiB\n' \
  $(($(json server peak_bytes <"$work/stock.json") >> 20)) $(($(json server peak_bytes <"$work/ours.json") >> 20))
