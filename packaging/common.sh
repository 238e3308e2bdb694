# Sourced by the scripts beside it: what all of them agree on.
# shellcheck shell=bash disable=SC2034
set -euo pipefail

# The programs that are shipped.
readonly programs=(vault-kms-plugin vault-kmsctl)
readonly name=vault-kms-plugin

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly root
# Everything that is made on the way, and nothing that is shipped.
readonly work=${CARGO_TARGET_DIR:-$root/target}/packaging
# Cargo.toml names the files of the packages below it.
readonly stage=$root/target/stage
readonly tools=${PACKAGING_TOOLS:-$work/tools}
cargo_home=${CARGO_HOME:-$HOME/.cargo}
readonly cargo_home

export PATH="$tools/bin:$tools/zig/bin:$PATH" LC_ALL=C TZ=UTC
umask 022
# The time of every file and of every archive: that of the commit.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct)}
export SOURCE_DATE_EPOCH

say() {
    printf '\n== %s\n' "$*" >&2
}

# Ends with what is wrong and how to remedy it.
fail() {
    printf 'packaging: %s\n' "$*" >&2
    exit 1
}

# Writes an archive of DIR whose bytes depend on names, modes and contents alone: archive DIR ENTRY…
archive() {
    tar --directory="$1" --format=ustar --sort=name --mtime="@$SOURCE_DATE_EPOCH" \
        --owner=0 --group=0 --numeric-owner --mode=go=u,go-w --create "${@:2}"
}
