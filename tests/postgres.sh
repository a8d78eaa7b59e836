#!/bin/sh
# Runs a command with a throw-away PostgreSQL: tests/postgres.sh cargo test
#
# Makes a cluster in a temporary directory, on 127.0.0.1 and a free port, sets DRIPFEED_TEST_POSTGRES to its address and
# DRIPFEED_TEST_POSTGRES_CA to the authority of its TLS certificate, runs the command, and takes everything away again;
# the exit code is the command's. Installs Debian's postgresql where there is none (as root). Durability is off: these
# tests kill programs, not the machine.
set -eu

if [ $# -eq 0 ]; then
    echo "usage: tests/postgres.sh COMMAND…  (runs it with DRIPFEED_TEST_POSTGRES set)" >&2
    exit 2
fi

find_tools() {
    for directory in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV) "$(dirname "$(command -v initdb || echo /none/initdb)")"; do
        if [ -x "$directory/initdb" ] && [ -x "$directory/postgres" ] && [ -x "$directory/pg_ctl" ]; then
            echo "$directory"
            return
        fi
    done
}

tools=$(find_tools)
if [ -z "$tools" ]; then
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "PostgreSQL's server is not installed: install it (Debian: apt-get install postgresql) and try again" >&2
        exit 1
    fi
    echo "installing postgresql …" >&2
    # No cluster of the system's own: only the programs are wanted.
    mkdir -p /etc/postgresql-common
    [ -e /etc/postgresql-common/createcluster.conf ] || echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends postgresql; } >&2
    tools=$(find_tools)
fi

home=$(mktemp -d /tmp/dripfeed-postgres.XXXXXX)
as_owner() { "$@"; }
if [ "$(id -u)" -eq 0 ]; then
    # PostgreSQL refuses to run as root.
    chown postgres "$home"
    as_owner() { setpriv --reuid=postgres --regid=postgres --init-groups env HOME="$home" "$@"; }
fi

stop() {
    code=$?
    trap - EXIT INT TERM
    [ -e "$home/data/postmaster.pid" ] && (cd / && as_owner "$tools/pg_ctl" -D "$home/data" -m immediate -w stop >/dev/null 2>&1) || true
    rm -rf "$home"
    exit "$code"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

(cd / && as_owner "$tools/initdb" -D "$home/data" -U dripfeed -A trust --no-sync -E UTF8 --locale=C >"$home/initdb.log" 2>&1) ||
    { cat "$home/initdb.log" >&2; exit 1; }

# TLS for the tests of sslmode: an authority of its own, a certificate for "localhost" and not for 127.0.0.1.
curve="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
{
    openssl req -x509 $curve -subj "/CN=dripfeed test CA" -days 2 -keyout "$home/ca.key" -out "$home/ca.pem"
    openssl req $curve -subj /CN=localhost -keyout "$home/server.key" -out "$home/server.csr"
    echo subjectAltName=DNS:localhost >"$home/server.ext"
    openssl x509 -req -in "$home/server.csr" -CA "$home/ca.pem" -CAkey "$home/ca.key" -set_serial 2 -days 2 \
        -extfile "$home/server.ext" -out "$home/server.crt"
} >"$home/openssl.log" 2>&1 || { cat "$home/openssl.log" >&2; exit 1; }
chmod 0600 "$home/server.key"
[ "$(id -u)" -ne 0 ] || chown postgres "$home/server.key" "$home/server.crt"
chmod 0755 "$home"

# The port is free when the server could take it: try until it can.
port=54320
while :; do
    if (cd / && as_owner "$tools/pg_ctl" -D "$home/data" -l "$home/data/server.log" -w -t 30 \
        -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories=$home -c fsync=off -c full_page_writes=off -c max_connections=400 \
            -c ssl=on -c ssl_cert_file=$home/server.crt -c ssl_key_file=$home/server.key" \
        start >/dev/null 2>&1); then
        break
    fi
    port=$((port + 1))
    if [ $port -gt 54420 ]; then
        echo "PostgreSQL did not start:" >&2
        cat "$home/data/server.log" >&2
        exit 1
    fi
done

DRIPFEED_TEST_POSTGRES="postgres://dripfeed@127.0.0.1:$port/postgres"
DRIPFEED_TEST_POSTGRES_CA="$home/ca.pem"
export DRIPFEED_TEST_POSTGRES DRIPFEED_TEST_POSTGRES_CA
echo "PostgreSQL: $DRIPFEED_TEST_POSTGRES" >&2
"$@"
