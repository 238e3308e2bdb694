#!/usr/bin/env bash
# Writes the CycloneDX SBOM of what is linked into the programs, on all targets: sbom.sh FILE
. "$(dirname "$0")/common.sh"
out=$1
cd "$root"
# Beside the Cargo.toml of each package of the workspace; with SOURCE_DATE_EPOCH without a serial number.
trap 'rm -f "$root"/sbom.cdx.json "$root"/examples/*/sbom.cdx.json' EXIT
cargo cyclonedx --quiet --format json --spec-version 1.5 --target all --no-build-deps \
    --override-filename sbom.cdx
# Packages of the workspace are named by their directory.
sed "s#file://$root#file:///source#g" "$root/sbom.cdx.json" >"$out"
