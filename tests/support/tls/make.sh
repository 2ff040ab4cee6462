#!/bin/sh
# Makes the certificates of the tests anew. Needs openssl >= 3.0.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
curve="ec -pkeyopt ec_paramgen_curve:prime256v1"
from=20200101000000Z
until=20700101000000Z
touch "$work/index.txt"
echo 1000 >"$work/serial"
cat >"$work/ca.cnf" <<EOF
[ca]
default_ca = tests
[tests]
database = $work/index.txt
serial = $work/serial
new_certs_dir = $work
default_md = sha256
policy = any
unique_subject = no
copy_extensions = copy
[any]
commonName = supplied
# From 3.13 on Python verifies as strictly as RFC 5280: key usage and key identifiers must be there.
[authority]
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
EOF
# sign_itself NAME KIND EXTENSION FILE
sign_itself() {
    openssl req -newkey $curve -nodes -keyout "$work/$1.key" -out "$work/$1.csr" -subj "/CN=$1" -addext "$3"
    openssl ca -batch -notext -config "$work/ca.cnf" -extensions "$2" -selfsign -keyfile "$work/$1.key" \
        -in "$work/$1.csr" -out "$4" -startdate $from -enddate $until
}
sign_itself authority authority "basicConstraints=critical,CA:TRUE" authority.pem

# certify FILE NAMES FROM UNTIL
certify() {
    openssl req -newkey $curve -nodes -keyout "$work/$1.key" -out "$work/$1.csr" \
        -subj "/CN=$1" -addext "subjectAltName=$2"
    openssl ca -batch -notext -config "$work/ca.cnf" -extensions server \
        -cert authority.pem -keyfile "$work/authority.key" -in "$work/$1.csr" \
        -out "$work/$1.crt" -startdate "$3" -enddate "$4"
    cat "$work/$1.crt" "$work/$1.key" >"$1.pem"
}
certify localhost "DNS:localhost,IP:127.0.0.1" $from $until
certify elsewhere "DNS:elsewhere.example" $from $until
certify expired "DNS:localhost,IP:127.0.0.1" 20000101000000Z 20000102000000Z
sign_itself self server "subjectAltName=DNS:localhost,IP:127.0.0.1" "$work/self.crt"
cat "$work/self.crt" "$work/self.key" >self-signed.pem
