#!/usr/bin/env bash
# Installs what the other scripts run, each in one version, below target/packaging/tools. What is there stays.
# Needs Rust with rustup, Python 3 with venv, and a C compiler.
. "$(dirname "$0")/common.sh"

crates=(
    cargo-auditable@0.7.7    # the list of dependencies inside the binary
    cargo-deb@3.8.0
    cargo-generate-rpm@0.21.1
    cargo-cyclonedx@0.5.9    # the SBOM
)
wheels=(
    ziglang==0.15.2          # a C compiler for every target, and the linker
    cargo-zigbuild==0.24.1   # has cargo use it
    certifi==2026.10.18      # Mozilla's CA certificates, for the image
)
targets=(
    x86_64-unknown-linux-musl aarch64-unknown-linux-musl
    x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu
)

mkdir -p "$tools"
if ! "$tools/zig/bin/pip" freeze 2>/dev/null | grep -qxF "${wheels[2]}"; then
    python3 -m venv "$tools/zig"
    "$tools/zig/bin/pip" install --quiet "${wheels[@]}"
fi
for crate in "${crates[@]}"; do
    grep -qsF "\"${crate%@*} ${crate#*@} " "$tools/.crates.toml" ||
        CARGO_TARGET_DIR=$work/tools-build cargo install --locked --root "$tools" "$crate"
done
installed=$(rustup target list --installed)
for target in "${targets[@]}"; do
    grep -qx "$target" <<<"$installed" || rustup target add "$target"
done
