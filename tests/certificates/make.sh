#!/bin/sh
# Make the certificates of the tests: for a hundred years, and like those of many companies, without key identifiers.
set -eu
cd "$(dirname "$0")"
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
touch "$folder/index"
cat > "$folder/settings" <<END
[ca]
default_ca = default
[default]
database = $folder/index
new_certs_dir = $folder
default_md = sha256
default_startdate = 20200101000000Z
default_enddate = 21200101000000Z
rand_serial = yes
unique_subject = no
policy = policy
[policy]
commonName = supplied
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = none
authorityKeyIdentifier = none
[server]
basicConstraints = critical, CA:FALSE
extendedKeyUsage = serverAuth
subjectKeyIdentifier = none
authorityKeyIdentifier = none
subjectAltName = \$ENV::SAN
END
export SAN=
request() {
  openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$folder/$1.key"
  openssl req -new -key "$folder/$1.key" -subj "/CN=$1" -config "$folder/settings" -out "$folder/$1.request"
}
authority() {
  request "$1"
  openssl ca -batch -notext -config "$folder/settings" -selfsign -keyfile "$folder/$1.key" -extensions authority \
    -in "$folder/$1.request" -out "$1.pem"
}
server() {
  request "$2"
  SAN=$3 openssl ca -batch -notext -config "$folder/settings" -cert "$1.pem" -keyfile "$folder/$1.key" \
    -extensions server -in "$folder/$2.request" -out "$folder/$2.pem"
  cat "$folder/$2.pem" "$folder/$2.key" > "$2.pem"
}
authority first-authority
authority second-authority
server first-authority first IP:127.0.0.1
server second-authority second IP:127.0.0.1
server first-authority named DNS:kubernetes.example.com
