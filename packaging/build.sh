#!/usr/bin/env bash
# Builds everything that is released: packaging/build.sh VERSION
#
# Into target/dist-VERSION (or $OUT): static and glibc programs for x86_64 and aarch64, deb, rpm, image, SBOM, debug
# symbols, SHA256SUMS. $TARGETS limits the targets (a list of triples; the image has the architectures of the musl ones).
# docs/development.md describes a release, packaging/verify-reproducible.sh compares two builds.
. "$(dirname "$0")/common.sh"

version=${1:?usage: packaging/build.sh VERSION}
declared=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$root/Cargo.toml" | head -1)
[ "$version" = "$declared" ] || fail "Cargo.toml declares version $declared, not $version: change it first, and CHANGELOG.md"
out=$(realpath --canonicalize-missing "${OUT:-$root/target/dist-$version}")
default=(x86_64-unknown-linux-musl aarch64-unknown-linux-musl x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu)
read -ra targets <<<"${TARGETS:-${default[*]}}"
# What an installation by hand takes from a checkout: an unpacked archive has it in the same places.
files=(systemd deploy LICENSE-APACHE LICENSE-MIT README.md SECURITY.md CHANGELOG.md)

# "x86_64-linux-musl"; the packages and the image have names of their own for an architecture.
short() {
    echo "${1/-unknown/}"
}

say "tools"
"$root/packaging/tools.sh"
rm -rf "$out"
mkdir -p "$out"
images=()
for target in "${targets[@]}"; do
    say "programs for $target"
    built=$work/programs/$target
    "$root/packaging/compile.sh" "$target" "$built"

    say "archives for $target"
    directory=$name-$version-$(short "$target")
    rm -rf "$work/archive"
    mkdir -p "$work/archive/$directory"
    for file in "${files[@]}"; do
        cp -r "$root/$file" "$work/archive/$directory"
    done
    for program in "${programs[@]}"; do
        cp "$built/$program" "$work/archive/$directory"
    done
    # The names of other plugins (docs/reference/drop-in.md).
    mkdir "$work/archive/$directory/drop-in"
    for plugin in vault-kubernetes-kms vault-kms-provider vault-kube-kms; do
        ln -s "../$name" "$work/archive/$directory/drop-in/$plugin"
    done
    archive "$work/archive" "$directory" | gzip -9 --no-name >"$out/$directory.tar.gz"
    archive "$built" "${programs[@]/%/.debug}" | gzip -9 --no-name >"$out/$directory-debug.tar.gz"
    case $target in
    *-gnu) "$root/packaging/package.sh" "$target" "$built" "$version" "$out" ;;
    x86_64-*) images+=("amd64=$built") ;;
    aarch64-*) images+=("arm64=$built") ;;
    esac
done
if [ ${#images[@]} -gt 0 ]; then
    say "image"
    "$root/packaging/image.sh" "$version" "$out" "${images[@]}"
fi
say "SBOM"
"$root/packaging/sbom.sh" "$out/$name-$version.cdx.json"
(cd "$out" && sha256sum -- * >"$work/SHA256SUMS" && mv "$work/SHA256SUMS" .)
say "built in $out"
ls -l "$out" >&2
