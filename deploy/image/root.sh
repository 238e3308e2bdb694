#!/bin/sh
# Puts the root directory of the image together: root.sh DIR PROGRAM...
# The programs, the libraries that they were linked with, CA certificates ($CA_CERTIFICATES, or those of this system), and that names
# are looked for in /etc/hosts first. There is no shell and no package in it.
set -eu
root=$1
shift

put() {
    install -D -m "$1" "$2" "$root$3"
}

for program in "$@"; do
    put 0755 "$program" "/usr/local/bin/${program##*/}"
    # Lines such as "libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)"; what has no path is the kernel's.
    for library in $(ldd "$program" | grep -o '/[^ ]*'); do
        put 0755 "$library" "$library"
    done
done
# The names of other plugins, where their own images have them: called so, the program behaves as they do.
# docs/reference/drop-in.md
mkdir -p "$root/user/local/bin" "$root/run/sockets"
ln -s /usr/local/bin/vault-kms-plugin "$root/vault-kubernetes-kms"
ln -s /usr/local/bin/vault-kms-plugin "$root/vault-kube-kms"
ln -s /usr/local/bin/vault-kms-plugin "$root/user/local/bin/vault-kms-provider"
ln -s vault-kms-provider "$root/user/local/bin/app"
put 0644 "${CA_CERTIFICATES:-/etc/ssl/certs/ca-certificates.crt}" /etc/ssl/certs/ca-certificates.crt
echo "hosts: files dns" >"$root/etc/nsswitch.conf"
