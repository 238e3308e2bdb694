#!/usr/bin/env bash
# Makes the image of the static pod: image.sh VERSION OUT ARCHITECTURE=DIR…
# DIR has the static programs for the architecture (amd64, arm64). OUT receives an archive of each architecture, which
# `ctr images import`, `docker load`, `podman load` and skopeo read, and an OCI layout with all of them; and an archive of
# each architecture with the images that stand for other plugins, which differ in user and entry point alone. An image is a
# layer and three JSON documents: neither a daemon nor root is needed to write them, and the bytes depend on nothing
# else.
. "$(dirname "$0")/common.sh"
version=$1 out=$2
shift 2
readonly reference=localhost/$name:$version
# The plugins that this one is called as.
readonly plugins=(vault-kubernetes-kms vault-kms-provider vault-kube-kms)
created=$(date --date="@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)
source=$(sed -n 's/^repository = "\(.*\)"$/\1/p' "$root/Cargo.toml")
description=$(sed -n 's/^description = "\(.*\)"$/\1/p' "$root/Cargo.toml")
certificates=$("$tools/zig/bin/python" -m certifi)
build=$work/image
rm -rf "$build"
mkdir -p "$build" "$out"

# What each image runs, and as whom. An image of another plugin has the user, the directory and the program of that
# plugin's own (docs/reference/drop-in.md).
settings() {
    case $1 in
    '') echo '"User":"60790:60790","Entrypoint":["/usr/local/bin/vault-kms-plugin"],"WorkingDir":"/"' ;;
    vault-kubernetes-kms) echo '"User":"0:0","Entrypoint":["/vault-kubernetes-kms"],"WorkingDir":"/"' ;;
    vault-kms-provider) echo '"User":"10001:10001","Cmd":["./app"],"WorkingDir":"/user/local/bin"' ;;
    vault-kube-kms) echo '"User":"65532:65532","Entrypoint":["/vault-kube-kms"],"WorkingDir":"/"' ;;
    *) fail "no image is called $1" ;;
    esac
}

digest() {
    sha256sum "$1" | cut -d ' ' -f 1
}

# Moves a file into a layout; prints what names it there: its digest and size.
blob() {
    local sum size
    sum=$(digest "$2")
    size=$(stat --format=%s "$2")
    mkdir -p "$1/blobs/sha256"
    mv "$2" "$1/blobs/sha256/$sum"
    echo "\"digest\":\"sha256:$sum\",\"size\":$size"
}

labels() {
    cat <<JSON
"org.opencontainers.image.created":"$created","org.opencontainers.image.description":"$description",\
"org.opencontainers.image.documentation":"$source/blob/main/docs/install/static-pod.md",\
"org.opencontainers.image.licenses":"MIT OR Apache-2.0","org.opencontainers.image.source":"$source",\
"org.opencontainers.image.title":"$name","org.opencontainers.image.version":"$version"
JSON
}

# Writes the image of one architecture into a layout; prints the descriptor of its manifest: image LAYOUT ARCHITECTURE DIR PLUGIN
image() {
    local layout=$1 architecture=$2 programs_dir=$3 plugin=$4
    local files=$build/$architecture.root diff_id layer config manifest
    mkdir -p "$layout"
    rm -rf "$files"
    local paths=("${programs[@]/#/$programs_dir/}")
    CA_CERTIFICATES=$certificates sh "$root/deploy/image/root.sh" "$files" "${paths[@]}"
    archive "$files" . >"$build/layer"
    diff_id=$(digest "$build/layer")
    gzip -9 --no-name "$build/layer"
    layer=$(blob "$layout" "$build/layer.gz")
    printf '{"architecture":"%s","os":"linux","created":"%s","config":{%s,"Labels":{%s}},%s,%s}' \
        "$architecture" "$created" "$(settings "$plugin")" "$(labels)" \
        "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:$diff_id\"]}" \
        "\"history\":[{\"created\":\"$created\",\"created_by\":\"packaging/image.sh\"}]" >"$build/config"
    config=$(blob "$layout" "$build/config")
    printf '{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"%s",%s},"layers":[{"mediaType":"%s",%s}]}' \
        application/vnd.oci.image.manifest.v1+json application/vnd.oci.image.config.v1+json "$config" \
        application/vnd.oci.image.layer.v1.tar+gzip "$layer" >"$build/manifest"
    manifest=$(blob "$layout" "$build/manifest")
    # What `docker load` reads instead of index.json.
    printf '{"Config":"blobs/sha256/%s","RepoTags":["%s"],"Layers":["blobs/sha256/%s"]}' \
        "$(sed 's/.*sha256:\([0-9a-f]*\).*/\1/' <<<"$config")" "$reference${plugin:+-$plugin}" \
        "$(sed 's/.*sha256:\([0-9a-f]*\).*/\1/' <<<"$layer")" >>"$build/$(basename "$layout").entries"
    sed 's/}{/},{/g; s/^/[/; s/$/]/' "$build/$(basename "$layout").entries" >"$layout/manifest.json"
    printf '{"mediaType":"application/vnd.oci.image.manifest.v1+json",%s,"platform":{"architecture":"%s","os":"linux"}}' \
        "$manifest" "$architecture"
}

# A descriptor with the name of its image, which containerd and podman take from there: named DESCRIPTOR PLUGIN
named() {
    local tag=${2:+-$2}
    printf '%s,"annotations":{"io.containerd.image.name":"%s","org.opencontainers.image.ref.name":"%s"}}' \
        "${1%\}}" "$reference$tag" "$version$tag"
}

# Writes the entry of a layout, and packs it: index LAYOUT NAMED-DESCRIPTORS ARCHIVE
index() {
    printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[%s]}' "$2" >"$1/index.json"
    printf '{"imageLayoutVersion":"1.0.0"}' >"$1/oci-layout"
    archive "$1" . >"$3"
}

descriptors=()
for image in "$@"; do
    architecture=${image%%=*}
    layout=$build/$architecture.layout
    descriptor=$(image "$layout" "$architecture" "${image#*=}" '')
    descriptors+=("$descriptor")
    index "$layout" "$(named "$descriptor" '')" "$out/$name-$version-image-$architecture.tar"
    layout=$build/$architecture.drop-in
    entries=()
    for plugin in "${plugins[@]}"; do
        descriptor=$(image "$layout" "$architecture" "${image#*=}" "$plugin")
        entries+=("$(named "$descriptor" "$plugin")")
    done
    (IFS=,; index "$layout" "${entries[*]}" "$out/$name-$version-image-drop-in-$architecture.tar")
done

# One layout with all architectures: an image index, and the name in front of it.
all=$build/all.layout
mkdir -p "$all"
for image in "$@"; do
    cp -r "$build/${image%%=*}.layout/blobs" "$all"
done
(IFS=,; printf '{"schemaVersion":2,"mediaType":"%s","manifests":[%s],"annotations":{%s}}' \
    application/vnd.oci.image.index.v1+json "${descriptors[*]}" "$(labels)") >"$build/index"
index "$all" "$(named "{\"mediaType\":\"application/vnd.oci.image.index.v1+json\",$(blob "$all" "$build/index")}" '')" \
    "$out/$name-$version-image.tar"
