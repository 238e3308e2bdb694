#!/bin/sh
# Puts the root directory of the image together: root.sh PROGRAM DIR
# The program, the libraries that it was linked with, CA certificates ($CA_CERTIFICATES, or those of this system), and that names
# are looked for in /etc/hosts first. There is no shell and no package in it.
set -eu
program=$1 root=$2

put() {
    install -D -m "$1" "$2" "$root$3"
}

put 0755 "$program" /usr/local/bin/vault-kms-plugin
# Lines such as "libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)"; what has no path is the kernel's.
for library in $(ldd "$program" | grep -o '/[^ ]*'); do
    put 0755 "$library" "$library"
done
put 0644 "${CA_CERTIFICATES:-/etc/ssl/certs/ca-certificates.crt}" /etc/ssl/certs/ca-certificates.crt
echo "hosts: files dns" >"$root/etc/nsswitch.conf"
