#!/bin/sh
# Makes a certificate authority and a server certificate for trying things out: what an organisation's own authority
# would hand over. The server does not need this: on its first start it makes a pair of its own.
#
#   certs/make-development-ca.sh DIRECTORY [NAME | ADDRESS]…      (default: localhost 127.0.0.1 ::1 and this machine's name)
#
# DIRECTORY then holds ca.pem (for agents), ca.key, server.crt (with its chain) and server.key. What is there already is
# left alone: a second call makes another server certificate of the same authority only after server.crt was removed.
# Not for production: the authority's key lies unencrypted beside the rest.
set -eu

directory=${1:?usage: make-development-ca.sh DIRECTORY [NAME | ADDRESS]...}
shift
[ $# -gt 0 ] || set -- localhost 127.0.0.1 ::1 "$(uname -n)"
command -v openssl >/dev/null || { echo "openssl is not installed" >&2; exit 1; }

mkdir -p "$directory"
cd "$directory"
umask 077

key() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null ||
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }

if [ ! -s ca.pem ]; then
  key ca.key
  openssl req -x509 -new -key ca.key -sha256 -days 3650 -subj "/CN=dripfeed development CA ($(uname -n))" \
    -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign -out ca.pem
fi

if [ ! -s server.crt ]; then
  names=
  for name; do
    case $name in
      *:*) kind=IP ;;
      *[!0-9.]*) kind=DNS ;;
      *) kind=IP ;;
    esac
    names=${names:+$names,}$kind:$name
  done
  key server.key
  openssl req -new -key server.key -subj "/CN=$1" -out server.csr
  printf '%s\n' "subjectAltName=$names" extendedKeyUsage=serverAuth basicConstraints=critical,CA:FALSE \
    keyUsage=critical,digitalSignature >extensions
  openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 397 -sha256 -extfile extensions \
    -out server.crt 2>/dev/null
  cat ca.pem >>server.crt
  rm -f server.csr extensions ca.srl
  echo "server.crt is for $names"
fi
chmod 644 ca.pem server.crt
