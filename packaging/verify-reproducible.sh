#!/usr/bin/env bash
# Builds a second time, from a copy of the sources in another directory, and compares every byte:
# packaging/verify-reproducible.sh DIR
# DIR is what packaging/build.sh made. With fewer $TARGETS than it had, what they give is compared, but for the image of
# all architectures. Only what git knows is copied, and nothing of the first build but the tools.
. "$(dirname "$0")/common.sh"
first=$(realpath "${1:?usage: packaging/verify-reproducible.sh DIR}")
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$root/Cargo.toml" | head -1)
copy=$(mktemp --directory)
trap 'rm -rf "$copy"' EXIT

git -C "$root" ls-files -z | tar --directory="$root" --null --files-from=- --create | tar --directory="$copy" --extract
PACKAGING_TOOLS=$tools CARGO_TARGET_DIR=$copy/target OUT=$copy/out "$copy/packaging/build.sh" "$version"
second=$copy/out/SHA256SUMS
compared=$first/SHA256SUMS
if [ -n "${TARGETS:-}" ]; then
    sed -i '/-image\.tar$/d' "$second"
    compared=$copy/compared
    # A line is a checksum and a name.
    cut -d ' ' -f 3 "$second" | grep -wFf - "$first/SHA256SUMS" >"$compared"
fi
diff "$compared" "$second" || fail "the second build differs"
(cd "$first" && sha256sum --check --quiet SHA256SUMS)
say "both builds are the same, byte for byte"
