#!/bin/sh
# The file system of a container, in a mount namespace of its own (run it under unshare --mount):
#
# container.sh ROOT [SOURCE TARGET ro|rw]… -- COMMAND…
#
# ROOT becomes read-only, with /proc, a few devices, and what names are resolved with, as a container
# runtime gives them, and with the mounts that were named. COMMAND then runs outside of it: changing into it is left to that.
set -eu
root=$1
shift

mount --bind "$root" "$root"
mkdir -p "$root/proc" "$root/dev"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=0755 tmpfs "$root/dev"
for device in null zero random urandom; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir -p "$root/etc"
for file in hosts resolv.conf; do
    : >"$root/etc/$file"
    mount --bind "/etc/$file" "$root/etc/$file"
    mount -o remount,bind,ro "$root/etc/$file"
done
while [ "$1" != -- ]; do
    mkdir -p "$root$2"
    mount --bind "$1" "$root$2"
    [ "$3" = rw ] || mount -o remount,bind,ro "$root$2"
    shift 3
done
shift
mount -o remount,bind,ro "$root"
exec "$@"
