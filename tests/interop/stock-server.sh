#!/bin/bash
# Our agent, against the unmodified OCS Inventory server of Debian: Apache with mod_perl, MariaDB.
#
#   cargo build --release && tests/interop/stock-server.sh
#
# Needs root on Debian 12 (mod_perl drops to www-data, MariaDB to mysql). It takes target/release/dripfeed-agent, or the
# program that $DRIPFEED_AGENT names. Database, web server and agent live in one temporary directory and on free ports of
# 127.0.0.1, are started and ended by pid, and no service of the packages is started; KEEP=1 leaves the directory behind.
# Packages are made by hand, as the console would: an info file, fragments, and rows in the server's tables.
#
# What one has to know about those packages: README.md beside this file.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

NAME=stock-server
. tests/interop/lib.sh
begin
# libxml-parser-perl: the server insists on XML::Parser and no dependency pulls it in.
install_packages ocsinventory-server libxml-parser-perl apache2 libapache2-mod-perl2 mariadb-server mariadb-client \
  openssl curl "${stock_agent_packages[@]}"
began=$SECONDS

# ----------------------------------------------------------------------------------------------------- the scene

make_work dripfeed-ocs
chmod 755 "$work" # www-data and mysql go in there
tree=$work/pack/download
out=$work/out
source=$work/source
vardir=$work/agent
mkdir -p "$tree" "$out" "$source" "$vardir" "$work"/{mysql,apache,tls,log,www}
agent_pid=
mysql_pid=

apache_pid() { cat "$work/apache/pid" 2>/dev/null; }
stop_apache() {
  local pid
  pid=$(apache_pid) || return 0
  kill "$pid" 2>/dev/null || return 0
  wait_until 20 fails test -d "/proc/$pid" || kill -9 "$pid"
}
finish() {
  local status=$?
  trap - EXIT
  end_process "$agent_pid"
  kill_stock_children "$work/stock"
  stop_apache
  if [ -n "$mysql_pid" ] && kill "$mysql_pid" 2>/dev/null; then
    wait_until 30 fails test -d "/proc/$mysql_pid" || kill -9 "$mysql_pid"
    wait "$mysql_pid" 2>/dev/null
  fi
  if [ "$status" != 0 ] || [ "$failed" != 0 ]; then
    tell_logs "$work/mysql/log" "$work/apache/error.log" "$work/log/activity.log" "$work/agent.log" "$work/stock.log"
  fi
  remove_work
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Three ports that are free now: all are held before the first is let go.
read -r http_port https_port db_port < <(perl -MIO::Socket::INET -e '
  my @held = map { IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1") or die $! } 1 .. 3;
  print join(" ", map { $_->sockport } @held), "\n";')

# ----------------------------------------------------------------------------------------------------- the database

socket=$work/mysql/socket
sql() { mariadb --no-defaults --socket="$socket" -u root -N -B ocsweb -e "$1"; }
one() { sql "$1" | head -n 1; }

start_database() {
  cat >"$work/mysql/my.cnf" <<CNF
[mysqld]
datadir = $work/mysql/data
socket = $socket
pid-file = $work/mysql/pid
bind-address = 127.0.0.1
port = $db_port
skip-name-resolve
skip-log-bin
innodb_flush_log_at_trx_commit = 2
innodb_buffer_pool_size = 64M
performance_schema = off
sql_mode = NO_ENGINE_SUBSTITUTION
CNF
  chown mysql:mysql "$work/mysql"
  mariadb-install-db --no-defaults --user=mysql --datadir="$work/mysql/data" --auth-root-authentication-method=socket \
    --skip-test-db >"$work/mysql/install.log" 2>&1 || die "mariadb-install-db failed: $(tail -n 3 "$work/mysql/install.log")"
  mariadbd --defaults-file="$work/mysql/my.cnf" --user=mysql </dev/null >"$work/mysql/log" 2>&1 &
  mysql_pid=$!
  wait_until 60 mariadb-admin --no-defaults --socket="$socket" -u root ping >/dev/null 2>&1 || die "MariaDB did not come up"
}

# The schema is in the console's package. Its files are all that is needed of that: no PHP, nothing installed.
load_schema() {
  local files=/usr/share/ocsinventory-reports/files update
  if [ ! -r $files/ocsbase_new.sql ]; then
    mkdir "$work/reports"
    (cd "$work/reports" && { apt-get download ocsinventory-reports || { apt-get update && apt-get download ocsinventory-reports; }; } &&
      dpkg-deb -x ./*.deb .) >"$work/reports.log" 2>&1 || die "no schema: $(tail -n 3 "$work/reports.log")"
    files=$work/reports/$files
  fi
  mariadb --no-defaults --socket="$socket" -u root -e "create database ocsweb character set utf8 collate utf8_bin;
    create user ocs@localhost identified by 'ocs'; grant all on ocsweb.* to ocs@localhost"
  # As the console does it: the base, then each update; all of it on one connection that does not stop at what the
  # console passes over as well.
  {
    cat "$files/ocsbase_new.sql"
    echo ';'
    local base
    base=$(sed -nE "s/.*'GUI_VERSION',0,'([0-9]+)'.*/\1/p" "$files/ocsbase_new.sql" | head -n 1)
    for update in "$files"/update/*.sql; do
      [ "$(basename "$update" .sql)" -gt "${base:?the schema has no version}" ] || continue
      cat "$update"
      echo ';'
    done
  } | mariadb --no-defaults --socket="$socket" -u root --force ocsweb >"$work/schema.log" 2>&1 || true
  # The engine is 2.8.1, the schema a 2.11.1 console's: these are gone from it and the engine writes to them.
  sql "alter table software_name add column if not exists CATEGORY int null;
    create table if not exists unixusers (ID int auto_increment primary key, HARDWARE_ID int not null,
      ID_USERS varchar(255), GID_USERS varchar(255), HOME_USERS varchar(255), LOGIN_USERS varchar(255),
      NAME_USERS varchar(255), GROUP_USERS varchar(255), SHELL_USERS varchar(255), ID_GROUP varchar(255),
      MEMBER_GROUP varchar(255), NAME_GROUP varchar(255), key (HARDWARE_ID)) engine=InnoDB"
  option DOWNLOAD 1
  option DOWNLOAD_FRAG_LATENCY 0
  option DOWNLOAD_CYCLE_LATENCY 1
  option DOWNLOAD_PERIOD_LATENCY 0
  option DOWNLOAD_PERIOD_LENGTH 10
  option DOWNLOAD_TIMEOUT 7
  option FREQUENCY 0
  option AUTO_DUPLICATE_LVL 0 # two agents on one computer, here
  option PROLOG_FREQ 24
}
# option NAME NUMBER: for all computers
option() { sql "insert into config(NAME,IVALUE,TVALUE) values('$1',$2,'') on duplicate key update IVALUE=$2"; }

# --------------------------------------------------------------------------------------------------- the web server

make_certificates() { # one authority that signed the server, one that did not
  local name
  for name in ca other; do
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$name of the test" \
      -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign \
      -keyout "$work/tls/$name.key" -out "$work/tls/$name.pem" 2>/dev/null
  done
  openssl req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout "$work/tls/server.key" -out "$work/tls/server.csr" 2>/dev/null
  printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n' >"$work/tls/extensions"
  openssl x509 -req -in "$work/tls/server.csr" -CA "$work/tls/ca.pem" -CAkey "$work/tls/ca.key" -CAcreateserial -days 2 \
    -extfile "$work/tls/extensions" -out "$work/tls/server.pem" 2>/dev/null
}

configure_apache() {
  # The package's own settings, with our database and log. Its SOAP interface does not load in Debian.
  sed -e '/PerlModule Apache::Ocsinventory::SOAP/,/<\/location>/d' \
    -e "s|OCS_DB_PORT .*|OCS_DB_PORT $db_port|" -e "s|OCS_OPT_LOGPATH .*|OCS_OPT_LOGPATH \"$work/log\"|" \
    -e 's|\(PerlSetVar OCS_DB_PWD\) .*|\1 ocs|' \
    /etc/apache2/conf-available/ocsinventory-server.conf >"$work/apache/ocsinventory.conf"
  local modules=/usr/lib/apache2/modules
  cat >"$work/apache/apache2.conf" <<CONF
ServerRoot "$work/apache"
ServerName localhost
PidFile "$work/apache/pid"
DefaultRuntimeDir "$work/apache"
ErrorLog "$work/apache/error.log"
LogFormat "%t \"%r\" %>s %b" short
CustomLog "$work/apache/access.log" short
User www-data
Group www-data
Listen 127.0.0.1:$http_port
Listen 127.0.0.1:$https_port
LoadModule mpm_prefork_module $modules/mod_mpm_prefork.so
LoadModule authn_core_module $modules/mod_authn_core.so
LoadModule authz_core_module $modules/mod_authz_core.so
LoadModule alias_module $modules/mod_alias.so
LoadModule env_module $modules/mod_env.so
LoadModule mime_module $modules/mod_mime.so
LoadModule socache_shmcb_module $modules/mod_socache_shmcb.so
LoadModule ssl_module $modules/mod_ssl.so
LoadModule perl_module $modules/mod_perl.so
StartServers 2
MinSpareServers 1
MaxRequestWorkers 8
TypesConfig /etc/mime.types
DocumentRoot "$work/www"
Alias /download "$tree"
<Directory "$tree">
  Require all granted
</Directory>
PerlSetEnv OCS_OPT_DBI_MYSQL_SOCKET $socket
Include "$work/apache/ocsinventory.conf"
<VirtualHost 127.0.0.1:$https_port>
  ServerName localhost
  SSLEngine on
  SSLCertificateFile "$work/tls/server.pem"
  SSLCertificateKeyFile "$work/tls/server.key"
</VirtualHost>
CONF
  chown -R www-data:www-data "$work/log"
}

answers_a_get() { # the communication server says 400 to a GET, the sign that all of its Perl was loaded
  [ "$(curl -s --noproxy '*' --cacert "$work/tls/ca.pem" -o /dev/null -w '%{http_code}' "https://localhost:$https_port/ocsinventory")" = 400 ]
}
start_apache() {
  rm -f "$work/apache/pid"
  env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C TZ=UTC apache2 -f "$work/apache/apache2.conf" -k start \
    >"$work/apache/start.log" 2>&1 || die "Apache did not start: $(tail -n 5 "$work/apache/start.log")"
  wait_until 20 answers_a_get || die "the communication server does not answer"
}

start_database
load_schema
make_certificates
configure_apache
start_apache
server_url=https://localhost:$https_port/ocsinventory
ca=$work/tls/ca.pem
say "stock server on 127.0.0.1:$http_port and :$https_port after $((SECONDS - began)) s"

# --------------------------------------------------------------------------------------------------------- the agent

# agent ARGUMENT…: a clean environment; everything is in the log
agent() {
  env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME="$work/home" LANG=C TZ=UTC timeout 120 \
    "$dripfeed_agent" -v "$@" </dev/null >>"$work/agent.log" 2>&1
}
once() { agent once --data-dir "$vardir" --server "$server_url" --ca "$ca" --tag "$TAG"; }
# The agent as a child that can be killed: no timeout and no shell in between.
once_in_background() {
  env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME="$work/home" LANG=C TZ=UTC \
    "$dripfeed_agent" once --server "$server_url" --ca "$ca" --data-dir "$vardir" -v </dev/null >>"$work/agent.log" 2>&1 &
  agent_pid=$!
}
# agent_ended SECONDS: waits for it
agent_ended() {
  wait_until "$1" fails kill -0 "$agent_pid" 2>/dev/null || { end_process "$agent_pid"; agent_pid=; return 1; }
  wait "$agent_pid" || { agent_pid=; return 1; }
  agent_pid=
}
kill_agent() {
  { kill -9 "$agent_pid" && wait "$agent_pid"; } 2>/dev/null || true
  agent_pid=
}

TAG='Größe & <Co>'
host=$(uname -n | cut -d. -f1)
state=$(stock_state "$vardir" "$server_url")

# ---------------------------------------------------------------------------------------- first contact, inventory

rows() { one "select count(*) from $1 where HARDWARE_ID=$computer"; }
column() { one "select $2 from $1 where ${3:-HARDWARE_ID}=$computer limit 1"; }
more_than() { [ "${1:-0}" -gt "$2" ] || { printf '       expected more than %s, found "%s"\n' "$2" "$1"; return 1; }; }

check "an agent that trusts another authority does not talk to the server" \
  fails agent once --data-dir "$vardir" --server "$server_url" --ca "$work/tls/other.pem"
check "... and is not known to it" equal "$(one "select count(*) from hardware")" 0
check "the agent says prolog and sends its inventory" once
device=$(device_of "$state")
check "the agent made itself an identifier" matches "$device" '^.+-[0-9]{4}(-[0-9]{2}){5}$'
computer=$(one "select ID from hardware where DEVICEID='$device'")
check "table hardware has the computer" more_than "$computer" 0
[ -n "$computer" ] || die "the server did not take the inventory: nothing else can work"
check "... with its name" equal "$(column hardware NAME ID)" "$host"
check "... its memory in MiB" equal "$(column hardware MEMORY ID)" "$(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo)"
check "... what the agent calls itself" matches "$(column hardware USERAGENT ID)" '^OCS-NG_unified_unix_agent_v'
check "... and takes no notice of its key, as the agent sees" grep -qF '"standing": "stock"' "$state/identity.json"
check "table software has each package of dpkg" equal "$(rows software)" "$(dpkg-query -W -f '${db:Status-Status}\n' | grep -c '^installed$')"
check "... by name and version" equal \
  "$(one "select version from software s join software_name n on n.id=s.name_id join software_version v on v.id=s.version_id
     where s.hardware_id=$computer and n.name='bash'")" "$(dpkg-query -W -f '${Version}' bash)"
check "the TAG is the one on the agent's command line, each character of it" equal "$(one "select TAG from accountinfo where HARDWARE_ID=$computer")" "$TAG"
sql "update accountinfo set TAG='moved' where HARDWARE_ID=$computer"
check "the administrator's TAG comes with the next answer" once
check "... and is kept" grep -qF moved "$state/ocsinv.adm"
check "... and stays the server's" equal "$(one "select TAG from accountinfo where HARDWARE_ID=$computer")" moved
check "a second inventory makes no second computer" equal "$(one "select count(*) from hardware")" 1

# The stock agent on the same computer: what it says of it is what ours must say.
stock_vardir=$work/stock
stock_work=$(stock_state "$stock_vardir" "$server_url")
run_stock() { stock_agent "$stock_vardir" "$server_url" "$ca" "$work/stock.log"; }
check "the stock agent registers beside ours" run_stock
stock_child_is_gone "$stock_work" 60
twin_device=$(device_of "$stock_work")
twin=$(one "select ID from hardware where DEVICEID='$twin_device'")
[ -n "$twin" ] || die "the server did not take the stock agent's inventory"
# same TABLES COLUMNS [CONDITION]: both agents' rows
same() {
  local tables=$1 columns=$2 condition=${3:-true} key=HARDWARE_ID rows=$work/rows
  [ "$tables" != hardware ] || key=ID
  sql "select $columns from $tables where $key=$twin and $condition" | LC_ALL=C sort >"$rows.stock"
  sql "select $columns from $tables where $key=$computer and $condition" | LC_ALL=C sort >"$rows.ours"
  [ -s "$rows.stock" ] || { echo "       the stock agent said nothing of it"; return 1; }
  diff "$rows.stock" "$rows.ours" | head -n 20
  cmp -s "$rows.stock" "$rows.ours"
}
check "ours says the same of the system" same hardware NAME,OSNAME,OSVERSION,OSCOMMENTS
check "... of processors, memory and swap" same hardware PROCESSORT,PROCESSORN,MEMORY,SWAP
check "... of address, gateway and name server" same hardware IPADDR,DEFAULTGATEWAY,DNS
check "... of the network cards" same networks DESCRIPTION,MACADDR,IPADDRESS,IPMASK,IPGATEWAY,IPSUBNET,STATUS,MTU \
  "IPADDRESS not like '%:%'"
check "... of the processors one by one" same cpus MANUFACTURER,TYPE,CORES,CPUARCH,DATA_WIDTH,LOGICAL_CPUS
check "... of the file systems" same drives TYPE,FILESYSTEM,VOLUMN,TOTAL "FILESYSTEM not in ('tmpfs','overlay')"
check "... of the disks" same storages NAME,TYPE "DISKSIZE>0"
software='software s join software_name n on n.id=s.name_id join software_version v on v.id=s.version_id
  join software_publisher p on p.id=s.publisher_id'
check "... of each program: name, version, publisher, description, size" same "$software" \
  n.name,v.version,p.publisher,"trim(s.comments)",s.filesize

# ----------------------------------------------------------------------------------------------------- the packages

next_id=$(date +%s)
declare -A package activation
# escaped TEXT: for an attribute
escaped() { sed -e 's/&/\&amp;/g' -e 's/</\&lt;/g' -e 's/"/\&quot;/g' <<<"$1"; }

# publish NAME PRIORITY ACT ATTRIBUTE VALUE [FRAGMENTS ARCHIVE [MORE-ATTRIBUTES]]: as the console makes them
# MORE-ATTRIBUTES, `NAME="VALUE"…`, are written instead of those of the same name.
publish() {
  local name=$1 priority=$2 act=$3 attribute=$4 value=$5 count=${6:-0} archive=${7:-} more=${8:-} id digest= n fragment size=0
  id=$next_id
  next_id=$((next_id + 1))
  mkdir "$tree/$id"
  if [ "$count" -gt 0 ]; then
    digest=$(md5sum <"$archive" | cut -d' ' -f1)
    size=$(stat -c %s "$archive")
    split -n "$count" --numeric-suffixes=1 -a 3 "$archive" "$tree/$id/part"
    for fragment in "$tree/$id"/part*; do
      n=$((10#${fragment##*part}))
      mv "$fragment" "$tree/$id/$id-$n"
    done
  fi
  local line='' pair
  for pair in "ID=$id" "PRI=$priority" "ACT=$act" "DIGEST=$digest" "PROTO=HTTP" "FRAGS=$count" DIGEST_ALGO=MD5 DIGEST_ENCODE=Hexa \
    "$attribute=$(escaped "$value")" NOTIFY_USER=0 NOTIFY_TEXT= NOTIFY_COUNTDOWN= NOTIFY_CAN_ABORT=0 NOTIFY_CAN_DELAY=0 \
    NEED_DONE_ACTION=0 NEED_DONE_ACTION_TEXT= GARDEFOU=rien; do
    grep -qE "(^| )${pair%%=*}=" <<<"$more" || line+=" ${pair%%=*}=\"${pair#*=}\""
  done
  printf '<?xml version="1.0" encoding="UTF-8"?>\n<DOWNLOAD%s%s />\n' "$line" "${more:+ $more}" >"$tree/$id/info"
  sql "insert into download_available(FILEID,NAME,PRIORITY,FRAGMENTS,SIZE,OSNAME,COMMENT) values('$id','$name',$priority,$count,$size,'LINUX','');
    insert into download_enable(FILEID,INFO_LOC,PACK_LOC,CERT_PATH,CERT_FILE)
      values('$id','localhost:$https_port/download','localhost:${LOCATION_PORT:-$http_port}/download','INSTALL_PATH','INSTALL_PATH/cacert.pem')"
  package[$name]=$id
  activation[$name]=$(one "select ID from download_enable where FILEID='$id'")
}

# affect NAME: to our computer, as the console's form does
affect() { sql "insert into devices(HARDWARE_ID,NAME,IVALUE,TVALUE) values($computer,'DOWNLOAD',${activation[$1]},NULL)"; }
# with NAME DOWNLOAD_FORCE|DOWNLOAD_SCHEDULE|DOWNLOAD_POSTCMD VALUE
with() { sql "insert into devices(HARDWARE_ID,NAME,IVALUE,TVALUE) values($computer,'$2',${activation[$1]},'$3')"; }
# again NAME: as "affect again"
again() {
  sql "delete from devices where HARDWARE_ID=$computer and IVALUE=${activation[$1]} and NAME like 'DOWNLOAD%'"
  affect "$1"
}
tvalue() { one "select ifnull(TVALUE,'NULL') from devices where HARDWARE_ID=$computer and NAME='DOWNLOAD' and IVALUE=${activation[$1]}"; }
has_tvalue() { [ "$(tvalue "$1")" = "$2" ]; }
expect() { check "$3: $2" equal "$(tvalue "$1")" "$2"; }
runs() { grep -cx "$1" "$out/order" 2>/dev/null || true; }

# Every package leaves one line in $out/order when it runs.
script() { # script NAME EXIT FILE
  printf '#!/bin/sh\necho "%s" >>"%s/order"\nexit %s\n' "$1" "$out" "$2" >"$3"
  chmod 755 "$3"
}
archive_of() { # archive_of NAME EXIT: a tar.gz with setup.sh and some weight, path on standard output
  mkdir "$source/$1"
  script "$1" "$2" "$source/$1/setup.sh"
  head -c 50000 /dev/urandom >"$source/$1/payload"
  tar -C "$source/$1" -czf "$source/$1.tar.gz" setup.sh payload
  printf '%s' "$source/$1.tar.gz"
}
mkdir -p "$source"/store/{bin,share/deep}
head -c 700000 /dev/urandom >"$source/store/random"
seq 20000 >"$source/store/share/deep/numbers"
: >"$source/store/share/empty"
script store 0 "$source/store/bin/tool"
ln -s share/deep/numbers "$source/store/numbers"
tar -C "$source/store" -czf "$source/store.tar.gz" .

publish absolute 0 LAUNCH NAME "setup.sh one two" 3 "$(archive_of absolute 0)"
publish exit3 5 LAUNCH NAME setup.sh 1 "$(archive_of exit3 3)"
publish bare 1 EXECUTE COMMAND "echo bare >>$out/order && echo \"<&>\" >$out/quoted"
publish archive 1 EXECUTE COMMAND "sh setup.sh && cp payload $out/payload" 2 "$(archive_of archive 0)"
publish failing 1 EXECUTE COMMAND "echo failing >>$out/order; exit 7"
publish store 1 STORE PATH "$out/a place/stored" 7 "$source/store.tar.gz"
base64=$(archive_of base64 0)
publish base64 1 LAUNCH NAME setup.sh 1 "$base64" \
  "DIGEST=\"$(openssl dgst -md5 -binary "$base64" | base64 | tr -d =)\" DIGEST_ENCODE=\"Base64\""
publish sha1 1 LAUNCH NAME setup.sh 1 "$(archive_of sha1 0)" \
  "DIGEST=\"$(sha1sum <"$source/sha1.tar.gz" | cut -d' ' -f1)\" DIGEST_ALGO=\"SHA1\""
LOCATION_PORT=$https_port publish https 2 LAUNCH NAME setup.sh 2 "$(archive_of https 0)" 'PROTO="HTTPS"'
(cd "$source/archive" && perl -MIO::Compress::Zip=:all -e \
  'zip \@ARGV => "../package.zip", Method => ZIP_CM_DEFLATE or die $ZipError' setup.sh payload)
publish zip 1 EXECUTE COMMAND "sh setup.sh && echo zip >>$out/order" 2 "$source/package.zip"
publish digest 1 LAUNCH NAME setup.sh 2 "$(archive_of digest 0)" 'DIGEST="00000000000000000000000000000000"'
publish stranger 1 LAUNCH NAME setup.sh 1 "$(archive_of stranger 0)" 'ID="1234567890"'
head -c 3000 /dev/urandom >"$source/garbage"
publish garbage 1 LAUNCH NAME setup.sh 1 "$source/garbage"
publish nothing 1 LAUNCH NAME missing.sh 1 "$(archive_of nothing 0)"
publish no-info 1 LAUNCH NAME setup.sh 1 "$(archive_of no-info 0)"
rm "$tree/${package[no-info]}/info"
publish broken-info 1 LAUNCH NAME setup.sh 1 "$(archive_of broken-info 0)"
printf '<DOWNLOAD ID="' >"$tree/${package[broken-info]}/info"

# ------------------------------------------------------------------------------------------------------- deploying

batch=(absolute exit3 bare archive failing store base64 sha1 https zip digest stranger garbage nothing no-info broken-info)
for name in "${batch[@]}"; do affect "$name"; done
check "sixteen packages, priorities 0, 1, 2 and 5, in one contact" once
expect absolute SUCCESS "LAUNCH, exit 0, priority 0, three fragments"
check "... before all the others" equal "$(head -n 1 "$out/order")" absolute
expect exit3 ERR_EXIT_CODE_3 "LAUNCH, exit 3, priority 5"
expect bare SUCCESS "EXECUTE without an archive"
check "... the shell got the command as it was written" equal "$(cat "$out/quoted")" '<&>'
expect archive SUCCESS "EXECUTE with an archive"
check "... which the command saw" cmp "$source/archive/payload" "$out/payload"
expect failing ERR_EXIT_CODE_7 "EXECUTE, exit 7"
expect store SUCCESS "STORE of seven fragments, to a path with a blank"
check "... and the files are the source's" diff -r --no-dereference "$source/store" "$out/a place/stored"
expect base64 SUCCESS "a digest in Base64 without padding, as a stock agent computes it"
expect sha1 SUCCESS "a digest that is SHA1"
expect https SUCCESS "fragments over HTTPS"
expect zip SUCCESS "a ZIP"
expect digest ERR_BAD_DIGEST "a digest that is wrong"
expect stranger ERR_BAD_ID "an info file of another package"
expect garbage ERR_BUILD "an archive that is none"
expect nothing ERR_EXECUTE "LAUNCH of a file that the archive has not"
for name in digest stranger garbage nothing no-info broken-info; do
  check "$name: nothing of it was run" equal "$(runs "$name")" 0
done
for name in absolute exit3 bare failing base64 sha1 https zip; do
  check "$name: was run once" equal "$(runs "$name")" 1
done
expect no-info NOTIFIED "an info file that is not there: one failed contact is no result"

for _ in 1 2 3 4 5 6; do
  { has_tvalue no-info NOTIFIED || has_tvalue broken-info NOTIFIED; } || break
  once || say "the agent ended with an error"
done
expect no-info ERR_DOWNLOAD_INFO "... after several contacts"
expect broken-info ERR_DOWNLOAD_INFO "an info file that is no XML"
check "nothing is left in the agent's work directory" equal \
  "$(find "$state/download" -mindepth 1 -maxdepth 1 -name '[0-9]*' | wc -l)" 0

# ------------------------------------------------------------------------------------------ history, force, options

check "the server has the history of the agent" equal \
  "$(sql "select PKG_ID from download_history where HARDWARE_ID=$computer order by PKG_ID" | tr '\n' ' ')" \
  "$(sort -n "$state/download/history" | tr '\n' ' ')"
again absolute
once || say "the agent ended with an error"
expect absolute SUCCESS_ALREADY_IN_HISTORY "deployed a second time"
again bare
sql "delete from download_history where HARDWARE_ID=$computer"
once || say "the agent ended with an error"
expect bare SUCCESS_ALREADY_SETUP "deployed a second time, and the server has forgotten the first"
again absolute
with absolute DOWNLOAD_FORCE 1
once || say "the agent ended with an error"
expect absolute SUCCESS "forced"
check "each ran as often as it should have" equal "$(runs absolute) $(runs bare)" "2 1"

publish post 1 EXECUTE COMMAND "echo post >>$out/order"
affect post
with post DOWNLOAD_POSTCMD "touch $out/post-command"
publish later 1 LAUNCH NAME setup.sh 2 "$(archive_of later 0)"
affect later
with later DOWNLOAD_SCHEDULE "2099/12/31 23:59"
once_in_background
check "a package with a post-command comes to its end" wait_until 30 has_tvalue post SUCCESS
check "... and then the command was run" wait_until 10 test -e "$out/post-command"
assembled() { [ -e "$state/download/${package[later]}/task" ] && [ ! -s "$state/download/${package[later]}/task" ]; }
check "a package with a schedule is fetched at once" wait_until 20 assembled
expect later NOTIFIED "... and waits"
kill_agent
check "... it was not run" equal "$(runs later)" 0
sql "update devices set TVALUE='2020/01/01 00:00' where HARDWARE_ID=$computer and NAME='DOWNLOAD_SCHEDULE'"
once || say "the agent ended with an error"
expect later SUCCESS "... until its time has come"

sql "insert into devices(HARDWARE_ID,NAME,IVALUE) values($computer,'DOWNLOAD_SWITCH',0)"
publish switched 1 EXECUTE COMMAND "echo switched >>$out/order"
affect switched
check "a computer whose deployment is switched off makes its contact" once
expect switched NULL "... and is offered nothing"
sql "delete from devices where HARDWARE_ID=$computer and NAME='DOWNLOAD_SWITCH'"

# A group is a computer of its own to the server; 0 is a computed member.
sql "insert into hardware(DEVICEID,NAME) values('_SYSTEMGROUP_','friends')"
group=$(one "select ID from hardware where DEVICEID='_SYSTEMGROUP_'")
sql "insert into \`groups\`(HARDWARE_ID,REQUEST,CREATE_TIME,REVALIDATE_FROM) values($group,'',unix_timestamp(),unix_timestamp());
  insert into groups_cache(HARDWARE_ID,GROUP_ID,STATIC) values($computer,$group,1)"
publish grouped 1 EXECUTE COMMAND "echo grouped >>$out/order"
sql "insert into devices(HARDWARE_ID,NAME,IVALUE) values($group,'DOWNLOAD',${activation[grouped]})"
once || say "the agent ended with an error"
expect switched SUCCESS "switched on again"
expect grouped SUCCESS "a package of the computer's group"

# ----------------------------------------------------------------------------------------- when things go away

publish long 1 STORE PATH "$out/long" 20 "$source/store.tar.gz"
affect long
task=$state/download/${package[long]}/task
still_missing() { { wc -l <"$task"; } 2>/dev/null || echo 20; }
missing_at_most() { [ "$(still_missing)" -le "$1" ]; }
once_in_background
wait_until 30 missing_at_most 16 || die "no four fragments came within half a minute"
kill_agent
expect long NOTIFIED "an agent that was killed"
had=$(still_missing)
mv "$tree/${package[long]}/${package[long]}-20" "$work/fragment"
once_in_background
check "... goes on where it was" wait_until 30 missing_at_most $((had - 3))
stop_apache
sleep 2 # it asks in vain meanwhile
start_apache
check "a server that was away is asked again" wait_until 40 missing_at_most 1
sleep 3
expect long NOTIFIED "a fragment that is not there is no result"
mv "$work/fragment" "$tree/${package[long]}/${package[long]}-20"
check "... and is fetched when it is back" agent_ended 40
expect long SUCCESS "... STORE of 20 fragments, agent killed, server away, fragment missing"
check "... and the files are the source's" diff -r --no-dereference "$source/store" "$out/long"
fetched() { grep -cE "/${package[long]}-1 HTTP/1.1\" 200" "$work/apache/access.log"; }
check "... and what it had was not fetched again" equal "$(fetched)" 1

publish deaf 1 EXECUTE COMMAND "echo deaf >>$out/order; sleep 3; exit 9"
affect deaf
once_in_background
has_run() { [ "$(runs "$1")" -gt 0 ]; }
wait_until 30 has_run deaf || die "the package was not run"
stop_apache
sleep 4
kill_agent
start_apache
expect deaf NOTIFIED "a result that the server could not take"
once || say "the agent ended with an error"
expect deaf ERR_EXIT_CODE_9 "... is delivered at the next contact, exit code and all"
check "... and nothing was run again" equal "$(runs deaf)" 1

# Packages that were first offered eight days ago: one lacks a fragment, the other never has a turn (DOWNLOAD_PERIOD_LENGTH).
publish lacking 1 LAUNCH NAME setup.sh 2 "$(archive_of lacking 0)"
mv "$tree/${package[lacking]}/${package[lacking]}-2" "$work/fragment"
publish old 99 LAUNCH NAME setup.sh 2 "$(archive_of old 0)"
affect lacking
affect old
once_in_background
wait_until 30 test -e "$state/download/${package[lacking]}/fetch_failed" || die "the second fragment was not asked for in vain"
wait_until 30 test -e "$state/download/${package[old]}/task" || die "the other info file did not come"
kill_agent
check "the agent says why a package does not come" grep -qF "${package[lacking]}-2 was answered 404" \
  <("$dripfeed_agent" status --data-dir "$vardir" --server "$server_url" --ca "$ca")
for name in lacking old; do echo $(($(date +%s) - 8 * 86400)) >"$state/download/${package[$name]}/since"; done
once || say "the agent ended with an error"
expect lacking ERR_DOWNLOAD_PACK "a package whose fragments did not come within DOWNLOAD_TIMEOUT days"
expect old ERR_TIMEOUT "a package that was not complete within them for another reason"

# ------------------------------------------------------------------------------------------------------- other ways

publish clear 1 LAUNCH NAME setup.sh 1 "$(archive_of clear 0)"
clear_url=http://localhost:$http_port/ocsinventory
clear_state=$(stock_state "$vardir" "$clear_url")
mkdir -p "$clear_state"
cp "$state/ocsinv.conf" "$clear_state/"
affect clear
check "an agent whose server is http:// makes its contact" agent once --data-dir "$vardir" --server "$clear_url" --ca "$ca"
expect clear SUCCESS "... and fetches the info file over HTTPS nevertheless"
check "an address where something else listens is exit code 1" fails agent once --data-dir "$vardir" --server "http://localhost:$db_port/ocsinventory" --ca "$ca"

# ------------------------------------------------------------------------------------- taking over a stock agent

computer=$twin
publish begun 1 STORE PATH "$out/begun" 12 "$source/store.tar.gz"
publish done 1 EXECUTE COMMAND "echo done >>$out/order"
affect done
run_stock
stock_child_is_gone "$stock_work" 60
expect done SUCCESS "a package that the stock agent ran"
affect begun
task=$stock_work/download/${package[begun]}/task
run_stock
wait_until 30 missing_at_most 9 || die "no three fragments came to the stock agent within half a minute"
kill -9 "$(stock_child "$stock_vardir" "$stock_work")"
again done
sql "delete from download_history where HARDWARE_ID=$computer"
check "our agent works on in the directory of a stock agent" \
  agent once --data-dir "$stock_vardir" --server "$server_url" --ca "$ca"
check "... under its identifier" equal "$(device_of "$stock_work") $(one "select count(*) from hardware where DEVICEID not like '\\_%'")" "$twin_device 2"
expect done SUCCESS_ALREADY_SETUP "... with its history"
expect begun SUCCESS "... and ends the package that it had begun"
check "... whose files are the source's" diff -r --no-dereference "$source/store" "$out/begun"
check "... and whose first fragment was fetched once" equal "$(grep -cE "/${package[begun]}-1 HTTP/1.1\" 200" "$work/apache/access.log")" 1
check "what the stock agent ran was not run again" equal "$(runs done)" 1

check "no request of ours was answered with 5xx" fails grep -qE '" 5[0-9]{2} ' "$work/apache/access.log"
check "no inventory lost a row on the way" fails grep -qiE 'DBD::|execute failed' "$work/apache/error.log"

say "took $((SECONDS - began)) s after the packages were installed"
summary
