#!/bin/sh
# Gives a node what a machine of the harness lacks. ADDRESS and GATEWAY are in /etc/node.address.
set -eu
. /etc/node.address
ip addr add "$ADDRESS/24" dev host0
ip link set host0 up
ip route add default via "$GATEWAY"

# It may make cgroups below its own.
for hierarchy in /sys/fs/cgroup/*/; do
    ! mountpoint -q "$hierarchy" || mount -o remount,bind,rw "$hierarchy"
done
[ ! -e /sys/fs/cgroup/cgroup.procs ] || mount -o remount,bind,rw /sys/fs/cgroup

# kubelet would set these of the whole host.
mkdir -p /run/node
for setting in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops \
    kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
    copy=/run/node/$(echo "$setting" | tr / _)
    cat "/proc/sys/$setting" >"$copy"
    mount --bind "$copy" "/proc/sys/$setting"
done
