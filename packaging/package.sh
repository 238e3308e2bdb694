#!/usr/bin/env bash
# Packs the compiled programs of a target: package.sh TARGET DIR VERSION OUT
# DIR has the programs, OUT receives a .deb and a .rpm.
. "$(dirname "$0")/common.sh"
target=$1 built=$2 version=$3 out=$4

"$root/packaging/stage.sh" "$built"
mkdir -p "$out"
# Before 0.1.0 comes 0.1.0~rc.1.
version=${version/-/\~}
cd "$root"
# What cargo-deb would build and strip, compile.sh has.
cargo deb --quiet --no-build --no-strip --target "$target" --deb-version "$version" --output "$out"
cargo generate-rpm --target "$target" --auto-req disabled --payload-compress gzip \
    --set-metadata "version = \"$version\"" --output "$out"
