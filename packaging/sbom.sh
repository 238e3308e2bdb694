#!/usr/bin/env bash
# Writes the CycloneDX SBOM of what is linked into the programs: sbom.sh FILE
. "$(dirname "$0")/common.sh"
out=$1
build=$work/sbom
rm -rf "$build"
mkdir -p "$build"
cp -r "$root/src" "$root/build.rs" "$root/proto" "$root/Cargo.lock" "$build"
# Without what the tests need, which has features compiled in that are not shipped.
sed '/^\[workspace\]$/,/^$/d; /^\[dev-dependencies\]$/,$d' "$root/Cargo.toml" >"$build/Cargo.toml"
# A workspace of its own, although it is below another one.
echo '[workspace]' >>"$build/Cargo.toml"
cd "$build"
# With SOURCE_DATE_EPOCH it has no serial number. The parts that depend on the system are those of Linux.
cargo cyclonedx --quiet --format json --spec-version 1.5 --target x86_64-unknown-linux-gnu --no-build-deps \
    --override-filename sbom.cdx
sed "s#file://$build#file:///source#g" sbom.cdx.json >"$out"
