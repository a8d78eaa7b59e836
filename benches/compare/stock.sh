# A stock OCS server out of Debian's packages on free ports of 127.0.0.1: Apache with mod_perl, MariaDB. Sourced after
# tests/interop/lib.sh, with $work made. start_stock sets stock_url and stock_pids; stop_stock ends them.
#
# Set up to be fast where that costs no truth: keep-alive without end, spare processes for every client, half a GiB of buffers, no
# log of requests. Durable like ours: InnoDB's own default, a sync a commit.

stock_pids=()
mysql_pid='' apache_pid=''

sql() { mariadb --no-defaults --socket="$work/mysql/socket" -u root -N -B ocsweb -e "$1"; }

start_stock() {
  install_packages ocsinventory-server ocsinventory-reports libxml-parser-perl apache2 libapache2-mod-perl2 mariadb-server \
    mariadb-client curl
  local http_port db_port modules=/usr/lib/apache2/modules files=/usr/share/ocsinventory-reports/files base update
  read -r http_port db_port < <(perl -MIO::Socket::INET -e '
    my @held = map { IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1") or die $! } 1 .. 2;
    print join(" ", map { $_->sockport } @held), "\n";')
  chmod 755 "$work"
  mkdir -p "$work"/{mysql,apache,log,www}
  cat >"$work/mysql/my.cnf" <<CNF
[mysqld]
datadir = $work/mysql/data
socket = $work/mysql/socket
pid-file = $work/mysql/pid
bind-address = 127.0.0.1
port = $db_port
skip-name-resolve
skip-log-bin
innodb_flush_log_at_trx_commit = 1
innodb_buffer_pool_size = 512M
max_connections = 200
CNF
  chown mysql:mysql "$work/mysql"
  mariadb-install-db --no-defaults --user=mysql --datadir="$work/mysql/data" --auth-root-authentication-method=socket \
    --skip-test-db >"$work/mysql/install.log" 2>&1 || die "mariadb-install-db failed: $(tail -n 3 "$work/mysql/install.log")"
  mariadbd --defaults-file="$work/mysql/my.cnf" --user=mysql </dev/null >"$work/mysql/log" 2>&1 &
  mysql_pid=$!
  wait_until 60 mariadb-admin --no-defaults --socket="$work/mysql/socket" -u root ping >/dev/null 2>&1 || die "MariaDB did not come up"
  mariadb --no-defaults --socket="$work/mysql/socket" -u root -e "create database ocsweb character set utf8 collate utf8_bin;
    create user ocs@localhost identified by 'ocs'; grant all on ocsweb.* to ocs@localhost"
  # As the console does it: the base, then each update, on one connection that goes on after an error.
  base=$(sed -nE "s/.*'GUI_VERSION',0,'([0-9]+)'.*/\1/p" $files/ocsbase_new.sql | head -n 1)
  {
    cat $files/ocsbase_new.sql
    echo ';'
    for update in "$files"/update/*.sql; do
      [ "$(basename "$update" .sql)" -gt "${base:?the schema has no version}" ] || continue
      cat "$update"
      echo ';'
    done
  } | mariadb --no-defaults --socket="$work/mysql/socket" -u root --force ocsweb >"$work/schema.log" 2>&1 || true
  # The engine is older than the schema and writes to what is gone from it.
  sql "alter table software_name add column if not exists CATEGORY int null;
    create table if not exists unixusers (ID int auto_increment primary key, HARDWARE_ID int not null,
      ID_USERS varchar(255), GID_USERS varchar(255), HOME_USERS varchar(255), LOGIN_USERS varchar(255),
      NAME_USERS varchar(255), GROUP_USERS varchar(255), SHELL_USERS varchar(255), ID_GROUP varchar(255),
      MEMBER_GROUP varchar(255), NAME_GROUP varchar(255), key (HARDWARE_ID)) engine=InnoDB;
    insert into config(NAME,IVALUE,TVALUE) values('DOWNLOAD',1,''),('FREQUENCY',0,'') on duplicate key update IVALUE=values(IVALUE)"

  sed -e '/PerlModule Apache::Ocsinventory::SOAP/,/<\/location>/d' \
    -e "s|OCS_DB_PORT .*|OCS_DB_PORT $db_port|" -e "s|OCS_OPT_LOGPATH .*|OCS_OPT_LOGPATH \"$work/log\"|" \
    -e 's|\(PerlSetVar OCS_DB_PWD\) .*|\1 ocs|' \
    /etc/apache2/conf-available/ocsinventory-server.conf >"$work/apache/ocsinventory.conf"
  cat >"$work/apache/apache2.conf" <<CONF
ServerRoot "$work/apache"
ServerName localhost
PidFile "$work/apache/pid"
DefaultRuntimeDir "$work/apache"
ErrorLog "$work/apache/error.log"
User www-data
Group www-data
Listen 127.0.0.1:$http_port
LoadModule mpm_prefork_module $modules/mod_mpm_prefork.so
LoadModule authn_core_module $modules/mod_authn_core.so
LoadModule authz_core_module $modules/mod_authz_core.so
LoadModule alias_module $modules/mod_alias.so
LoadModule env_module $modules/mod_env.so
LoadModule mime_module $modules/mod_mime.so
LoadModule perl_module $modules/mod_perl.so
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 5
StartServers 8
MinSpareServers 4
MaxSpareServers 80
ServerLimit 80
MaxRequestWorkers 80
TypesConfig /etc/mime.types
DocumentRoot "$work/www"
PerlSetEnv OCS_OPT_DBI_MYSQL_SOCKET $work/mysql/socket
Include "$work/apache/ocsinventory.conf"
CONF
  chown -R www-data:www-data "$work/log"
  # At its end it ends its whole process group, which must not be this script's.
  setsid env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C TZ=UTC apache2 -f "$work/apache/apache2.conf" -D FOREGROUND \
    </dev/null >"$work/apache/start.log" 2>&1 &
  apache_pid=$!
  stock_url=http://127.0.0.1:$http_port/ocsinventory
  wait_until 30 answers_a_get || die "the stock server does not answer: $(tail -n 5 "$work/apache/error.log")"
  stock_pids=("$apache_pid" "$mysql_pid")
}

# It says 400 to a GET, the sign that all of its Perl was loaded.
answers_a_get() { [ "$(curl -s --noproxy '*' -o /dev/null -w '%{http_code}' "$stock_url")" = 400 ]; }

# assign_stock: a command to every computer that it knows; prints the package's id
assign_stock() {
  local id=1700000001
  sql "insert into download_available(FILEID,NAME,PRIORITY,FRAGMENTS,SIZE,OSNAME,COMMENT) values('$id','bench',5,0,0,'LINUX','');
    insert into download_enable(FILEID,INFO_LOC,PACK_LOC,CERT_PATH,CERT_FILE)
      values('$id','localhost/download','localhost/download','INSTALL_PATH','INSTALL_PATH/cacert.pem');
    insert into devices(HARDWARE_ID,NAME,IVALUE,TVALUE)
      select hardware.ID,'DOWNLOAD',(select ID from download_enable where FILEID='$id'),NULL from hardware" >&2
  printf %s "$id"
}

stop_stock() {
  end_process "$apache_pid"
  if [ -n "$mysql_pid" ] && kill "$mysql_pid" 2>/dev/null; then
    wait_until 30 fails kill -0 "$mysql_pid" 2>/dev/null || kill -9 "$mysql_pid"
    wait "$mysql_pid" 2>/dev/null || true
  fi
}
