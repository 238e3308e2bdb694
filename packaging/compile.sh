#!/usr/bin/env bash
# Compiles the programs for a target: compile.sh TARGET DIR
# DIR receives each program, stripped and with the list of its dependencies inside (`cargo audit bin`), and
# PROGRAM.debug, what a debugger or a profiler reads beside it.
#
# The bytes depend on the sources, Cargo.lock, rustc and the tools of tools.sh alone, not on where they are.
. "$(dirname "$0")/common.sh"
target=$1 out=$2
rustc=$(rustc --print sysroot)
host=$(rustc -vV | sed -n 's/^host: //p')
commit=$(rustc -vV | sed -n 's/^commit-hash: //p')

case $root$work$cargo_home in
*' '*) fail "a space in a path ($root, $work or $cargo_home) would split RUSTFLAGS: build elsewhere" ;;
esac

# Paths, in the order in which they are looked for from the last to the first.
maps=(
    "$rustc/lib/rustlib/src/rust=/rustc/$commit"
    "$root=/source"
    "$tools=/tools"
    "$work/build=/build"
)
for registry in "$cargo_home"/registry/src/*/; do
    maps+=("${registry%/}=/crates")
done
rust_flags=() c_flags=()
for map in "${maps[@]}"; do
    rust_flags+=("--remap-path-prefix=$map")
    c_flags+=("-ffile-prefix-map=$map")
done
export RUSTFLAGS="${rust_flags[*]}"
export "CFLAGS_${target//-/_}=${c_flags[*]}"

# What `cargo auditable` would set, but for the absolute path of itself, which becomes part of the names of symbols.
export RUSTC_WORKSPACE_WRAPPER=cargo-auditable
export CARGO_AUDITABLE_ORIG_ARGS='{"offline":false,"locked":true,"frozen":false,"config":[]}'
export CARGO_PROFILE_DIST_DEBUG=line-tables-only CARGO_PROFILE_DIST_STRIP=none

# A static program is linked by the linker and the C library of rustc: zig's is not position-independent.
case $target in
*-musl)
    upper=${target^^}
    export "CARGO_TARGET_${upper//-/_}_LINKER=rust-lld"
    ;;
esac
# The oldest glibc that it runs with: that of RHEL 8 and Debian 10.
case $target in
*-gnu) floor=.2.28 ;;
*) floor= ;;
esac
# Each program by itself: with the features of vault-kmsctl, what both use would be larger in the daemon too.
declare -A features=([vault-kms-plugin]=jemalloc [vault-kmsctl]=jemalloc,kmsctl)
cd "$root"
for program in "${programs[@]}"; do
    cargo zigbuild --locked --profile dist --target "$target$floor" --target-dir "$work/build" \
        --no-default-features --features "${features[$program]}" --bin "$program"
done

# Part of every toolchain, and for every target; it does not find its own library.
objcopy() {
    LD_LIBRARY_PATH=$rustc/lib "$rustc/lib/rustlib/$host/bin/rust-objcopy" "$@"
}
mkdir -p "$out"
for program in "${programs[@]}"; do
    built=$work/build/$target/dist/$program
    objcopy --only-keep-debug "$built" "$out/$program.debug"
    cp "$built" "$out/$program"
    # The list of dependencies stays. The link has name and checksum of that file, by which gdb finds it.
    (cd "$out" && objcopy --strip-all --keep-section=.dep-v0 --add-gnu-debuglink="$program.debug" "$program")
    chmod 0755 "$out/$program"
    chmod 0644 "$out/$program.debug"
done
