#!/bin/sh
# A machine of its own: a systemd that boots in a container over a copy-on-write view of this root
# file system. All of it (mounts, processes) ends with the process that this becomes.
#
# machine.sh probe                can machines be booted here?
# machine.sh boot DIR NAME …   boots one; DIR/seed is laid over the root, the rest goes to
#                                 systemd-nspawn. The network is this one's: the doubles are on it.
set -eu

own_namespaces() {
    exec unshare --mount --propagation private --pid --mount-proc --fork \
        --kill-child=KILL sh "$0" "$@"
}

# A cgroup for each machine, or two would share one; the harness removes it.
own_cgroup() {
    for line in $(grep -E ':name=systemd:|^0::' /proc/self/cgroup); do
        base=/sys/fs/cgroup
        case $line in
        0::*) [ ! -d $base/unified ] || base=$base/unified ;;
        *) base=$base/systemd ;;
        esac
        cgroup=$base${line##*:}/$1
        mkdir -p "$cgroup"
        echo 0 >"$cgroup/cgroup.procs"
    done
}

overlay() {
    mount -t tmpfs tmpfs "$1/upper"
    mkdir "$1/upper/files" "$1/upper/work"
    [ ! -d "$1/seed" ] || cp -a "$1/seed/." "$1/upper/files/"
    # What systemd-nspawn keeps for its containers; left on the disk it would pile up.
    mkdir -p /run/systemd/nspawn
    mount -t tmpfs tmpfs /run/systemd/nspawn
    mount -t overlay overlay "$1/root" \
        -o "lowerdir=/,upperdir=$1/upper/files,workdir=$1/upper/work"
}

container() {
    directory=$1 name=$2
    shift 2
    exec systemd-nspawn --quiet --directory="$directory/root" --machine="$name" --register=no \
        --keep-unit --link-journal=no --resolv-conf=off --timezone=off --console=pipe "$@"
}

case $1 in
boot) shift && own_namespaces booted "$@" ;;
booted)
    mkdir -p "$2/upper" "$2/root"
    own_cgroup "$3"
    overlay "$2"
    shift && container "$@"
    ;;
probe)
    directory=$(mktemp -d)
    name=probe-$$
    status=0
    timeout 30 sh "$0" boot "$directory" "$name" --boot systemd.unit=poweroff.target </dev/null >/dev/null 2>&1 || status=1
    find /sys/fs/cgroup -depth -type d -path "*/$name*" -exec rmdir {} + 2>/dev/null || true
    rm -r "$directory"
    exit $status
    ;;
esac
