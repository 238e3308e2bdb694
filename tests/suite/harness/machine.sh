#!/bin/sh
# A machine of its own: a systemd that boots in a container over a copy-on-write view of this root
# file system. All of it (mounts, processes) ends with the process that this becomes.
#
# machine.sh probe                can machines be booted here?
# machine.sh boot DIR NAME …   boots one; DIR/seed is laid over the root, the rest goes to
#                                 systemd-nspawn. The network is this one's: the doubles are on it.
#                                 Its files are in memory, or in DIR/upper if that is there already.
set -eu

own_namespaces() {
    exec unshare --mount --propagation private --pid --mount-proc --fork \
        --kill-child=KILL sh "$0" "$@"
}

# A cgroup for each machine, or two would share one, in each hierarchy that may be used; the harness removes them.
own_cgroup() {
    while IFS=: read -r _ controllers path; do
        base=/sys/fs/cgroup
        case $controllers in
        '') [ ! -d $base/unified ] || base=$base/unified ;;
        name=systemd) base=$base/systemd ;;
        *) base=$base/$controllers ;;
        esac
        cgroup=$base${path%/}/$1
        case $controllers in
        '' | name=systemd) mkdir -p "$cgroup" ;;
        *) mkdir -p "$cgroup" 2>/dev/null || continue ;;
        esac
        # A new one of cpuset is empty, and takes no process.
        for file in cpuset.cpus cpuset.mems; do
            [ "$controllers" != cpuset ] || cat "$base$path/$file" >"$cgroup/$file"
        done
        echo 0 >"$cgroup/cgroup.procs"
    done </proc/self/cgroup
}

overlay() {
    if [ ! -d "$1/upper/files" ]; then
        mount -t tmpfs tmpfs "$1/upper"
        mkdir "$1/upper/files" "$1/upper/work"
    fi
    if [ -d "$1/seed" ]; then
        cp -a "$1/seed/." "$1/upper/files/"
        # Once: what the machine changes is still there after a power cut.
        rm -r "$1/seed"
    fi
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
