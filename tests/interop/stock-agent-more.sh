#!/bin/bash
# The unmodified OCS Inventory agent of Debian, against our server: everything that is not the straight path of
# stock-agent.sh. Sizes, priorities, damage, what is taken back, other ways to the server, several agents, groups,
# foreign characters.
#
#   cargo build --release && tests/interop/stock-agent-more.sh
#
# Needs root on Debian 12 or later, and takes dripfeed and dripfeed-mirror from target/release, or the programs that
# $DRIPFEED and $DRIPFEED_MIRROR name. All latencies are 0 here, which is a scenario of its own: an agent whose fragment is missing then asks some hundred times a second.
# Everything is in one temporary directory and on 127.0.0.1; KEEP=1 leaves the directory behind.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly CHILD_SECONDS=120     # how long one run may go on downloading

NAME=stock-agent-more
. tests/interop/lib.sh
begin
need_mirror
# nginx stands in front of our server.
install_packages "${stock_agent_packages[@]}" nginx-light openssl
began=$SECONDS

# ----------------------------------------------------------------------------------------------------- the scene

make_work dripfeed-more
chmod 755 "$work" # nginx's workers read their password file there
data=$work/data
out=$work/out
source=$work/source
base=$work/agent
mkdir -p "$data" "$out" "$source" "$work/nginx"
server_pid=
nginx_pid=
proxy_pid=

finish() {
  local status=$? pid
  trap - EXIT
  kill_stock_children "$base" "$work"/{left,right,newcomer,straggler,utf8,latin1}
  for pid in $nginx_pid $proxy_pid $server_pid; do end_process "$pid"; done
  if [ "$status" != 0 ] || [ "$failed" != 0 ]; then
    tell_logs "$work/server.log" "$work/verbs.log" "$work/nginx/error.log" "$work/agent.log"
  fi
  remove_work
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# configure KEY=VALUE…: what differs from the settings of these tests
configure() {
  local -A values=([DOWNLOAD_FRAG_LATENCY]=0 [DOWNLOAD_CYCLE_LATENCY]=0 [DOWNLOAD_PERIOD_LATENCY]=0
    [DOWNLOAD_PERIOD_LENGTH]=10 [DOWNLOAD_TIMEOUT]=7 [FREQUENCY]=0 [PROLOG_FREQ]=1)
  local pair key
  for pair in "$@"; do values[${pair%%=*}]=${pair#*=}; done
  { # its own authority's certificate names the host that agents are told
    echo 'public_name = "localhost"'
    echo '[settings]'
    for key in "${!values[@]}"; do echo "$key = ${values[$key]}"; done
  } >"$data/dripfeed.toml"
}
serve() {
  start_server "$data" "127.0.0.1:${http_port:-0}" "127.0.0.1:${https_port:-0}" "$work/server.log"
  server_pid=$started
}
restart() {
  end_process "$server_pid"
  serve
}
configure
serve
http=$(json http <"$data/addresses.json")
https=$(json https <"$data/addresses.json")
http_port=${http##*:}
https_port=${https##*:}
server_url=https://localhost:$https_port/ocsinventory
state=$(stock_state "$base" "$server_url")
ca=$data/certs/ca.pem
say "serving on $http and $https"

# --nosoftware: a run takes three seconds instead of six, and no scenario here is about programs.
run_agent() { stock_agent "$base" "$server_url" "$ca" "$work/agent.log" --nosoftware "$@"; }
child_is_gone() { stock_child_is_gone "$state" "$CHILD_SECONDS"; }
# run_to_end: one check-in and all that follows
run_to_end() { run_agent "$@" || say "the agent ended with an error"; child_is_gone; }
kill_child() {
  local pid
  pid=$(stock_child "$base" "$state") || die "the agent's downloading child is not to be found"
  kill -9 "$pid"
  child_is_gone
}

script() { # script NAME EXIT FILE
  printf '#!/bin/sh\necho "%s" >>"%s/order"\nexit %s\n' "$1" "$out" "$2" >"$3"
  chmod 755 "$3"
}
runs() { grep -cx "$1" "$out/order" 2>/dev/null || true; }

quietly() { "$@" >>"$work/verbs.log" 2>&1; }

declare -A package
# make NAME BUILD-ARGUMENTS…: built and activated at this server
make() {
  local name=$1
  shift
  package[$name]=$(build "$@" --name "$name" 2>>"$work/verbs.log") || die "package \"$name\" could not be built"
  verb activate "${package[$name]}" --info-location "localhost:$https_port/download" \
    --fragment-location "localhost:$http_port/download" >>"$work/verbs.log" 2>&1 || die "package \"$name\" could not be activated"
}
# setup NAME EXIT: a directory with setup.sh and some weight, its path on standard output
setup() {
  mkdir -p "$source/$1"
  script "$1" "$2" "$source/$1/setup.sh"
  head -c 60000 /dev/urandom >"$source/$1/payload"
  printf '%s' "$source/$1"
}
make_launch() { # make_launch NAME BUILD-ARGUMENTS…
  local name=$1
  shift
  make "$name" "$(setup "$name" 0)" --action launch --command setup.sh "$@"
}
deploy() { # deploy NAME [ASSIGN-ARGUMENTS…]
  local name=$1
  shift
  verb assign "${package[$name]}" --computer "$device" "$@" >>"$work/verbs.log" 2>&1
}
result() { result_of "${package[$1]}" "${2:-$device}"; }
expect() { check "$4: $2 $3" equal "$(result "$1")" "$2 $3"; }
has_result() { [ "$(result "$1")" = "$2" ]; }
fragment() { printf '%s/download/%s/%s-%s' "$data" "${package[$1]}" "${package[$1]}" "$2"; }
task() { printf '%s/download/%s/task' "$state" "${package[$1]}"; }
missing_is() { [ "$({ wc -l <"$(task "$1")"; } 2>/dev/null)" = "$2" ]; }

# asked_for PATH STATUS: how often a file of the tree was answered so
asked_for() { grep -cE "GET /download/$1 $2 " "$work/server.log" || true; }
# fetched_as USER_AGENT URL: the status that another program of this computer gets
fetched_as() {
  perl -MLWP::UserAgent -e 'my ($name, $ca, $url) = @ARGV;
    my $ua = LWP::UserAgent->new(agent => $name, ssl_opts => { SSL_ca_file => $ca });
    print $ua->get($url)->code' -- "$1" "$ca" "$2"
}

# hold NAME N: takes a fragment out of the tree, behind the server's back
hold() { mv "$(fragment "$1" "$2")" "$work/held"; }
give_back() { mv "$work/held" "$(fragment "$1" "$2")"; }

# ------------------------------------------------------------------------------------------------- several at once

run_to_end
device=$(device_of "$state")
check "the agent registers" grep -qF "$device" <(verb computer list)

mkdir -p "$source/one" "$source/large" "$source/many"
printf x >"$source/one/byte"
head -c 52428800 /dev/urandom >"$source/large/random"
head -c 3000000 /dev/urandom >"$source/many/random"
make one "$source/one" --action store --path "$out/one" --priority 1
make large "$source/large" --action store --path "$out/large" --priority 1
make many "$source/many" --action store --path "$out/many" --priority 1 --fragments 200
make_launch slow --priority 10 --fragments 3
make_launch two --priority 2 --fragments 2
make_launch nine --priority 9
make_launch post --priority 1
make_launch scheduled --priority 1
make_launch past --priority 1
due=$(date -d '+2 minutes' '+%Y/%m/%d %H:%M')
for name in one large many slow two nine; do deploy "$name"; done
deploy post --post-command "touch $out/post-command"
deploy past --schedule "2020/01/01 00:00"
deploy scheduled --schedule "$due"
check "50 MiB of noise are more than 50 fragments" test -s "$(fragment large 51)"
run_to_end
expect one succeeded SUCCESS "STORE of one byte"
check "... which is there" equal "$(cat "$out/one/byte")" x
expect large succeeded SUCCESS "STORE of 50 MiB"
check "... which are the source's" cmp "$source/large/random" "$out/large/random"
expect many succeeded SUCCESS "STORE of 200 fragments"
check "... which are the source's" cmp "$source/many/random" "$out/many/random"
expect slow succeeded SUCCESS_0 "priority 10, three fragments"
expect two succeeded SUCCESS_0 "priority 2 beside it"
expect nine succeeded SUCCESS_0 "priority 9 beside it"
expect post succeeded SUCCESS_0 "a package with a post-command"
check "... which a stock Unix agent ignores" fails test -e "$out/post-command"
expect past succeeded SUCCESS_0 "a schedule that is over"
if [[ $(date '+%Y/%m/%d %H:%M') < $due ]]; then
  expect scheduled pending "" "a schedule that is to come"
  check "... of which the agent knows nothing" fails test -e "$state/download/${package[scheduled]}"
  check "... and the reason is kept" grep -q "scheduled for $due" <(verb computer show "$device" --json; verb status "${package[scheduled]}" --json)
fi
rm -r "$out/large" "$source/large/random"

printf 'this is no archive' >"$source/garbage.tar.gz"
status=0
verb package build "$source/garbage.tar.gz" --name garbage --version 1 --os linux --action store --path "$out/x" >"$work/refusal" 2>&1 || status=$?
check "an archive that an agent could not unpack is refused when it is built" equal "$status" 2

# ----------------------------------------------------------------------------------------------------------- damage

make_launch digest --priority 1 --fragments 3
make_launch no-info --priority 1
make_launch fine --priority 1
for name in digest no-info fine; do deploy "$name"; done
cp -p "$(fragment digest 2)" "$work/held"
perl -pi -e 's/^./chr(ord($&) ^ 1)/se if $. == 1' "$(fragment digest 2)"
mv "$data/download/${package[no-info]}/info" "$work/info"
run_to_end
expect digest failed ERR_BAD_DIGEST "one bit of a fragment is another"
check "... nothing of it was run" equal "$(runs digest)" 0
check "... and 'package verify' finds the damage" fails quietly verb package verify "${package[digest]}"
mv "$work/held" "$(fragment digest 2)"
expect no-info failed ERR_DOWNLOAD_INFO "the info file is gone"
mv "$work/info" "$data/download/${package[no-info]}/info"
expect fine succeeded SUCCESS_0 "the package beside them"
deploy digest
deploy no-info
run_to_end
expect digest succeeded SUCCESS_0 "repaired and deployed again"
expect no-info succeeded SUCCESS_0 "put back and deployed again"

# Archives that nothing on the computer opens, though they are what their digests say: `package build` refuses them, a
# server of another make may deliver them.
forge() { # forge NAME FILE: is the package's only fragment from now on
  local digest info=$data/download/${package[$1]}/info
  cp -pr "$data/download/${package[$1]}" "$work/genuine-$1"
  digest=$(md5sum <"$2")
  sed -i "s/ DIGEST=\"[^\"]*\"/ DIGEST=\"${digest%% *}\"/" "$info"
  mv "$2" "$(fragment "$1" 1)"
}
restore() { # restore NAME: as it was built
  rm -r "$data/download/${package[$1]}"
  mv "$work/genuine-$1" "$data/download/${package[$1]}"
}
make_launch no-archive --priority 1
make_launch cut-archive --priority 1
printf 'this is no archive' >"$work/no-archive"
head -c 30000 "$(fragment cut-archive 1)" >"$work/cut-archive"
for name in no-archive cut-archive; do
  forge "$name" "$work/$name"
  deploy "$name"
done
run_to_end
expect no-archive failed ERR_BUILD "an archive that neither tar nor unzip can open"
expect cut-archive failed ERR_BUILD "an archive that ends too early"
for name in no-archive cut-archive; do
  check "... nothing of $name was run" equal "$(runs "$name")" 0
  check "... and nothing of it is left on the computer" fails test -e "$state/download/${package[$name]}"
  restore "$name"
  deploy "$name"
done
run_to_end
expect no-archive succeeded SUCCESS_0 "the right archive, deployed again"
expect cut-archive succeeded SUCCESS_0 "the whole archive, deployed again"

# An info file that is no XML ends the stock agent's download process at each start, and what is beside it waits. The
# agent never fetches it again.
make_launch broken --priority 1
make_launch beside --priority 1
deploy broken
deploy beside
cp -p "$data/download/${package[broken]}/info" "$work/info"
printf '<DOWNLOAD ID="' >"$data/download/${package[broken]}/info"
run_to_end
expect broken offered "" "an info file that is no XML"
expect beside offered "" "the package beside it waits, as it does with the stock server"
cp "$work/info" "$data/download/${package[broken]}/info"
rm -r "$state/download/${package[broken]}"
run_to_end
expect broken succeeded SUCCESS_0 "the file repaired, the agent's copy removed"
expect beside succeeded SUCCESS_0 "and the one beside it"

# A fragment that is missing, an agent that is killed, a task list that lags behind: the agent then asks with
# If-Modified-Since for what it has, and would take 304 for a failure, for ever.
make_launch trap --priority 1 --fragments 4
deploy trap
hold trap 4
run_agent || say "the agent ended with an error"
check "three of four fragments come, the last is not there" wait_until 20 missing_is trap 1
expect trap offered "" "... which is no result"
kill_child
id=${package[trap]}
check "... fragment 3 is in the agent's directory" test -s "$state/download/$id/$id-3"
printf '%s\n' "$id-3" "$id-4" >"$(task trap)"
give_back trap 4
run_to_end
expect trap succeeded SUCCESS_0 "killed between fragment and task list, and the fragment is back"
check "... it was run once" equal "$(runs trap)" 1

make_launch late --priority 1 --fragments 2
deploy late
hold late 2
run_agent || say "the agent ended with an error"
wait_until 20 missing_is late 1 || die "the first fragment did not come"
give_back late 2
child_is_gone
expect late succeeded SUCCESS_0 "a fragment that comes back while the agent asks"

make_launch old --priority 1 --fragments 2
deploy old
hold old 2
run_agent || say "the agent ended with an error"
wait_until 20 missing_is old 1 || die "the first fragment did not come"
kill_child
echo $(($(date +%s) - 8 * 86400)) >"$state/download/${package[old]}/since"
run_to_end
expect old expired ERR_TIMEOUT "not complete after eight days of seven"
give_back old 2

# Cancelled while an agent downloads: the protocol has no word for that, so the agent is refused what it lacks.
make_launch cancelled --priority 1 --fragments 3
deploy cancelled
hold cancelled 3
run_agent || say "the agent ended with an error"
wait_until 20 missing_is cancelled 1 || die "the first two fragments did not come"
id=${package[cancelled]}
job() { verb status "$id" --computer "$device" --json | json jobs -1 "$1"; }
check "a deployment is cancelled while an agent downloads it" quietly verb deployment cancel "$(job deployment)"
expect cancelled cancelled "" "... its job is over"
refused_more_than() { [ "$(asked_for "$id/$id-3" 410)" -gt "$1" ]; }
check "... and the agent is refused the fragment that it lacks" wait_until 20 refused_more_than 0
give_back cancelled 3
refused=$(asked_for "$id/$id-3" 410)
check "... also when it is there: it asks again" wait_until 20 refused_more_than $((refused + 10))
check "... in vain" missing_is cancelled 1
agent_name=$(verb computer show "$device" --json | json agent)
check "... as the agent, nobody gets the info file" equal "$(fetched_as "$agent_name" "https://localhost:$https_port/download/$id/info")" 410
check "... nor a fragment that the agent has" equal "$(fetched_as "$agent_name" "http://localhost:$http_port/download/$id/$id-1")" 410
check "... who is not that agent does" equal "$(fetched_as somebody-else "https://localhost:$https_port/download/$id/info")" 200
check "... and the fragment as well" equal "$(fetched_as somebody-else "http://localhost:$http_port/download/$id/$id-3")" 200
kill_child
told() { grep -c " ID=\"$id\"" "$work/agent.log" || true; }
told_before=$(told)
check "... it was offered while it was wanted" test "$told_before" -gt 0
echo $(($(date +%s) - 8 * 86400)) >"$state/download/$id/since"
run_to_end
check "... at its next contact it is not offered" equal "$(told)" "$told_before"
check "... its time is up, and the agent says so" grep -q "Sending message for $id, code=ERR_TIMEOUT" "$work/agent.log"
expect cancelled cancelled "" "... which does not change what its job is"
check "... it is gone from the agent" fails test -e "$state/download/$id"
check "... and nothing of it was run" equal "$(runs cancelled)" 0
deploy cancelled
run_to_end
expect cancelled succeeded SUCCESS_0 "deployed again, it is served again"
check "... and run once" equal "$(runs cancelled)" 1

make_launch withdrawn --priority 1 --fragments 2
deploy withdrawn
hold withdrawn 2
run_agent || say "the agent ended with an error"
wait_until 20 missing_is withdrawn 1 || die "the first fragment did not come"
check "a package is withdrawn while an agent downloads it" quietly verb package withdraw "${package[withdrawn]}"
expect withdrawn cancelled "" "... its job is over"
# What a stock agent has begun it goes on asking for, and while it does, it takes up nothing new.
make_launch meanwhile --priority 1
deploy meanwhile
run_agent || say "the agent ended with an error"
sleep 2
check "... the agent goes on asking" quietly stock_child "$base" "$state"
expect meanwhile offered "" "... and a package that is deployed meanwhile waits, as it does with the stock server"
kill_child
echo $(($(date +%s) - 8 * 86400)) >"$state/download/${package[withdrawn]}/since"
run_to_end
check "... until its time is up: then it is gone from the agent" fails test -e "$state/download/${package[withdrawn]}"
check "... nothing of it was run" equal "$(runs withdrawn)" 0
expect withdrawn cancelled "$(json jobs -1 code < <(verb status "${package[withdrawn]}" --computer "$device" --json))" "... its job stays what it was"
expect meanwhile succeeded SUCCESS_0 "... and the other package comes to its end"

# ----------------------------------------------------------------------------------------------- the server goes away

make deaf --action execute --command "echo deaf >>$out/order; sleep 3" --priority 1
deploy deaf
run_agent || say "the agent ended with an error"
has_run() { [ "$(runs "$1")" -gt 0 ]; }
wait_until 20 has_run deaf || die "the package was not run"
end_process "$server_pid"
sleep 4
check "an agent whose server is not there ends with an error" fails run_agent
expect deaf offered "" "a result that the server could not take"
serve
child_is_gone
is_closed "${package[deaf]}" "$device" || run_to_end
check "... comes later, without its exit code" matches "$(result deaf)" '^succeeded SUCCESS_?$|^already installed SUCCESS_ALREADY'
check "... and nothing was run again" equal "$(runs deaf)" 1

configure DOWNLOAD=0
restart
make_launch off --priority 1
deploy off
run_to_end
expect off pending "" "deployment is switched off"
check "... and the agent knows it" grep -q 'ON="0"' "$state/download/config"
configure FREQUENCY=30
restart
inventories=$(grep -c 'Calling download_inventory_handler' "$work/agent.log" || true)
run_to_end
expect off succeeded SUCCESS_0 "switched on, and no inventory is wanted: packages come all the same"
check "... no inventory was made" equal "$(grep -c 'Calling download_inventory_handler' "$work/agent.log" || true)" "$inventories"
configure
restart

# ----------------------------------------------------------------------------------------------- other ways to it

read -r tls_port clear_port auth_port mirror_port < <(perl -MIO::Socket::INET -e '
  my @held = map { IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1") or die $! } 1 .. 4;
  print join(" ", map { $_->sockport } @held), "\n";')
printf 'agent:%s\n' "$(openssl passwd -apr1 'a secret')" >"$work/nginx/passwords"
cat >"$work/nginx/nginx.conf" <<CONF
daemon off;
user www-data;
worker_processes 1;
pid $work/nginx/pid;
error_log $work/nginx/error.log;
events { worker_connections 64; }
http {
  access_log $work/nginx/access.log;
  client_max_body_size 16m;
  client_body_temp_path $work/nginx/body;
  proxy_temp_path $work/nginx/proxy;
  fastcgi_temp_path $work/nginx/fastcgi;
  uwsgi_temp_path $work/nginx/uwsgi;
  scgi_temp_path $work/nginx/scgi;
  ssl_certificate $data/certs/server.crt;
  ssl_certificate_key $data/certs/server.key;
  server {
    listen 127.0.0.1:$tls_port ssl;
    location / { proxy_pass https://127.0.0.1:$https_port; }
  }
  server {
    listen 127.0.0.1:$clear_port;
    location / { proxy_pass http://127.0.0.1:$http_port; }
  }
  server {
    listen 127.0.0.1:$auth_port ssl;
    auth_basic "inventory";
    auth_basic_user_file $work/nginx/passwords;
    location / { proxy_pass https://127.0.0.1:$https_port; }
  }
  server {
    listen 127.0.0.1:$mirror_port;
    location /depot/ { alias $work/mirror/download/; }
  }
}
CONF
nginx -p "$work/nginx" -e "$work/nginx/error.log" -c "$work/nginx/nginx.conf" </dev/null >>"$work/nginx/error.log" 2>&1 &
nginx_pid=$!
wait_until 10 test -s "$work/nginx/pid" || die "nginx did not come up"

# through URL: the same computer, by another address. Its state is the address's own, its identifier the computer's.
through() {
  local other
  other=$(stock_state "$base" "$1")
  mkdir -p "$other/download"
  cp "$state/ocsinv.conf" "$other/"
  cp "$state/download/history" "$other/download/"
  url=$1
  shift
  run_status=0
  stock_agent "$base" "$url" "$ca" "$work/agent.log" --nosoftware "$@" || run_status=$?
  [ ! -e "$other/download/lock" ] || stock_child_is_gone "$other" "$CHILD_SECONDS"
  return "$run_status"
}
# located NAME INFO FRAGMENTS [ARGUMENTS…]: built, activated at other locations, deployed
located() {
  local name=$1 info=$2 fragments=$3
  shift 3
  package[$name]=$(build "$(setup "$name" 0)" --action launch --command setup.sh --priority 1 --fragments 2 --name "$name" 2>>"$work/verbs.log")
  verb activate "${package[$name]}" --info-location "localhost:$info/download" --fragment-location "localhost:$fragments/download" "$@" \
    >>"$work/verbs.log" 2>&1 || die "package \"$name\" could not be activated"
  deploy "$name"
}
computers=$(verb computer list --json | grep -o '"device_id"' | wc -l)

located clear "$https_port" "$http_port"
check "an agent whose server is http:// makes its contact" through "http://localhost:$http_port/ocsinventory"
expect clear succeeded SUCCESS_0 "... and fetches the info file over HTTPS nevertheless"

located proxied "$tls_port" "$clear_port"
check "nginx in front of both listeners: the agent makes its contact" through "https://localhost:$tls_port/ocsinventory"
expect proxied succeeded SUCCESS_0 "... and its package"
check "... all of it through nginx" equal "$(grep -cE "/download/${package[proxied]}/(info|${package[proxied]}-[12]) .* 200 .*unified_unix_agent" "$work/nginx/access.log")" 3

located guarded "$auth_port" "$clear_port" --no-check
# The stock agent wants both words in Base64.
check "a server behind a password: without it the agent ends with an error" fails through "https://localhost:$auth_port/ocsinventory"
check "... with it, it makes its contact" through "https://localhost:$auth_port/ocsinventory" --realm=inventory \
  --user="$(printf agent | base64)" --password="$(printf 'a secret' | base64)"
expect guarded succeeded SUCCESS_0 "... and fetches the info file from behind it"

# A proxy of the environment, which is told CONNECT for HTTPS and whole addresses for HTTP.
cat >"$work/proxy.pl" <<'PERL'
use strict; use warnings; use IO::Socket::INET; use IO::Select;
$SIG{CHLD} = "IGNORE";
my ($file, $log) = @ARGV;
my $listener = IO::Socket::INET->new(Listen => 8, LocalAddr => "127.0.0.1") or die $!;
open my $out, ">", "$file.new" or die $!; print $out $listener->sockport; close $out; rename "$file.new", $file;
while (my $client = $listener->accept) {
  next if fork;
  my $head = "";
  while ($head !~ /\r\n\r\n/) { sysread($client, $head, 1, length $head) or exit }
  open my $l, ">>", $log or die $!; print $l $head =~ /^(.*?)\r\n/, "\n"; close $l;
  my ($connect, $host, $port) = $head =~ m{^(CONNECT )?(?:[A-Z]+ http://)?([^:/ ]+):(\d+)};
  my $server = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $port) or exit;
  if ($connect) { syswrite $client, "HTTP/1.1 200 ok\r\n\r\n" }
  else { $head =~ s{^([A-Z]+ )http://[^/]+}{$1}; $head =~ s{\r\n\r\n}{\r\nConnection: close\r\n\r\n}; syswrite $server, $head }
  my $both = IO::Select->new($client, $server);
  while (my @ready = $both->can_read(30)) {
    for my $from (@ready) {
      my $to = $from == $client ? $server : $client;
      my $n = sysread $from, my $bytes, 65536; exit unless $n;
      while (length $bytes) { my $w = syswrite $to, $bytes or exit; substr $bytes, 0, $w, "" }
    }
  }
  exit;
}
PERL
perl "$work/proxy.pl" "$work/proxy.port" "$work/proxy.log" </dev/null >>"$work/proxy.err" 2>&1 &
proxy_pid=$!
wait_until 10 test -s "$work/proxy.port" || die "the proxy did not come up"
located fetched "$https_port" "$http_port"
proxy=http://127.0.0.1:$(cat "$work/proxy.port")
through_proxy() { AGENT_ENVIRONMENT="http_proxy=$proxy https_proxy=$proxy" run_agent; }
check "an agent that must use a proxy makes its contact" through_proxy
child_is_gone
expect fetched succeeded SUCCESS_0 "... and its package"
check "... HTTPS through CONNECT" grep -q "^CONNECT localhost:$https_port " "$work/proxy.log"
check "... and fragments as the proxy's own requests" grep -q "^GET http://localhost:$http_port/download/" "$work/proxy.log"
check "by whatever way it comes, it is one computer" equal "$(verb computer list --json | grep -o '"device_id"' | wc -l)" "$computers"

# A location with $IP$ and $NAME$: those of a mirror that is near the computer and has the package.
package[filled]=$(build "$(setup filled 0)" --action launch --command setup.sh --priority 1 --fragments 2 --name filled 2>>"$work/verbs.log")
id=${package[filled]}
verb activate "$id" --info-location "localhost:$https_port/download" --fragment-location "\$IP\$:$mirror_port/\$NAME\$" --no-check \
  >>"$work/verbs.log" 2>&1 || die "a location with \$IP\$ and \$NAME\$ is refused"
deploy filled
run_to_end
expect filled pending "" "fragments are on mirrors alone, and there is none"
check "... and the reason is kept" matches "$(verb why "$device" "$id")" "no mirror of the computer's site has it"
token=$(verb mirror add depot "localhost:$mirror_port/depot" --json | json token)
quietly verb site add here 127.0.0.0/8 --mirrors depot
DRIPFEED_MIRROR_TOKEN=$token "$dripfeed_mirror" sync --from "https://localhost:$https_port/download" --ca "$ca" --to "$work/mirror" \
  --key "$(verb mirror key)" --packages "$id" </dev/null >>"$work/verbs.log" 2>&1 || die "the mirror could not be filled"
run_to_end
expect filled succeeded SUCCESS_0 "there is one: its address and its name are filled in"
check "... every fragment came from it" equal "$(grep -cE "GET /depot/$id/$id-[12] .* 200 .*unified_unix_agent" "$work/nginx/access.log")" 2
check "... none from the server but the mirror's own" fails grep -E "GET /download/$id/$id-.*unified_unix_agent" "$work/server.log"
quietly verb site remove here
quietly verb mirror remove depot

# --------------------------------------------------------------------------------------------- several, and foreign

# register BASE HOST_NAME [ARGUMENTS…]
register() {
  local where=$1 name=$2
  shift 2
  HOST_NAME=$name stock_agent "$where" "$server_url" "$ca" "$where.log" --nosoftware "$@"
}
if unshare --uts true 2>/dev/null; then
  register "$work/left" left & left_pid=$!
  register "$work/right" right & right_pid=$!
  check "two new computers register at once" wait "$left_pid"
  check "... and both are told so" wait "$right_pid"
  left=$(device_of "$(stock_state "$work/left" "$server_url")")
  right=$(device_of "$(stock_state "$work/right" "$server_url")")
  stock_child_is_gone "$(stock_state "$work/left" "$server_url")" 20
  stock_child_is_gone "$(stock_state "$work/right" "$server_url")" 20
  check "... by their own names" equal "${left%%-*} ${right%%-*}" "left right"
  make_launch shared --priority 1 --fragments 20
  verb assign "${package[shared]}" --all >>"$work/verbs.log" 2>&1
  register "$work/left" left & left_pid=$!
  register "$work/right" right & right_pid=$!
  wait "$left_pid" || say "left ended with an error"
  wait "$right_pid" || say "right ended with an error"
  stock_child_is_gone "$(stock_state "$work/left" "$server_url")" 60
  stock_child_is_gone "$(stock_state "$work/right" "$server_url")" 60
  check "one package on both at once: left" equal "$(result shared "$left")" "succeeded SUCCESS_0"
  check "... right" equal "$(result shared "$right")" "succeeded SUCCESS_0"
  check "... each ran it once" equal "$(runs shared)" 2

  # Groups. Deployed to one, a package is also for those who become members later.
  contact() { # contact NAME: one check-in of the computer of that name, and all that follows
    register "$work/$1" "$1" || say "$1 ended with an error"
    stock_child_is_gone "$(stock_state "$work/$1" "$server_url")" 60
  }
  quietly verb group create staff
  quietly verb group add staff "$device"
  quietly verb group create arrivals --where "name = newcomer or name = straggler"
  make_launch standing --priority 1
  make_launch both-ways --priority 1
  make_launch awaiting --priority 1
  for name in standing both-ways; do quietly verb assign "${package[$name]}" --group staff; done
  deploy both-ways
  quietly verb assign "${package[awaiting]}" --group arrivals
  run_to_end
  expect standing succeeded SUCCESS_0 "deployed to a group that is filled by hand"
  expect both-ways succeeded SUCCESS_0 "deployed to the computer, and to a group that it is in"
  check "... it was run once" equal "$(runs both-ways)" 1
  expect awaiting "" "" "deployed to a group with a query that is not about this computer"
  quietly verb group add staff "$left"
  contact left
  check "who is added to the group has it at the next contact" equal "$(result standing "$left")" "succeeded SUCCESS_0"
  contact newcomer
  newcomer=$(device_of "$(stock_state "$work/newcomer" "$server_url")")
  check "a new computer is a member of the group whose query it answers" equal "$(result awaiting "$newcomer")" "pending "
  contact newcomer
  check "... and has its package at the next contact" equal "$(result awaiting "$newcomer")" "succeeded SUCCESS_0"
  quietly verb deployment cancel "$(verb status "${package[awaiting]}" --json | json jobs -1 deployment)"
  contact straggler
  contact straggler
  straggler=$(device_of "$(stock_state "$work/straggler" "$server_url")")
  check "... after it was cancelled, a member that comes later has none" equal "$(result awaiting "$straggler")" " "
  check "... although it is one" grep -qF "$straggler" <(verb group show arrivals)
  check "... and what ran stays" equal "$(result awaiting "$newcomer") $(runs awaiting)" "succeeded SUCCESS_0 1"

  # Names that are not ASCII. The stock agent says one in UTF-8 as it is in its prolog, and in its inventory with each
  # byte made a character; it also makes itself a new identifier at each run, so that nothing can be deployed to it, by
  # whatever server. One in ISO-8859-1, as on machines that were installed long ago, it refuses to send, unless --force
  # tells it not to look (and not to ask: there is no prolog then): the document says UTF-8 and is not.
  identifiers() { verb computer list --json | sed -n 's/.*"device_id": "\(.*\)".*/\1/p'; }
  check "a computer called büro-ost registers" register "$work/utf8" büro-ost --tag=café
  stock_child_is_gone "$(stock_state "$work/utf8" "$server_url")" 20
  check "... and is one computer, by its name" equal "$(identifiers | grep -c '^b.*ro-ost-') $(identifiers | grep -cE '^büro-ost-[0-9]{4}')" "1 1"
  id=$(identifiers | grep '^büro-ost-' || true)
  check "... with its TAG" matches "$(verb computer show "$id" --json)" '"tag": *"café"'
  check "a stock agent refuses to say a name in ISO-8859-1" fails register "$work/latin1" $'b\xfcro-west'
  check "... unless it is forced to" register "$work/latin1" $'b\xfcro-west' --force
  check "... and then the name is understood" equal "$(identifiers | grep -cE '^büro-west-[0-9]{4}')" 1
else
  say "SKIPPED: no UTS namespaces here: several computers on one, and names in ISO-8859-1"
fi

# ----------------------------------------------------------------------------------------------------- its time has come

is_due() { [[ ! $(date '+%Y/%m/%d %H:%M') < $due ]]; }
wait_until 130 is_due || die "the schedule never comes"
run_to_end
expect scheduled succeeded SUCCESS_0 "the schedule has come"

check "no request was answered with 5xx" fails grep -qE 'status=5[0-9]{2}' "$work/server.log"
check "the downloaded tree is as it was built" quietly verb package verify

say "took $((SECONDS - began)) s after the packages were installed"
summary
