# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
#
# containerd through ctr: the same interface, and queries of snapshots and blobs that Docker's containerd store needs, too.

containerd_ask() {
    bounded "$1" ctr version >/dev/null 2>&1 || return
    # The socket, the namespace and the snapshotter are what ctr and nerdctl take by themselves.
    root=$containerd_root driver=${CONTAINERD_SNAPSHOTTER:-overlayfs}
    ctr_address=${CONTAINERD_ADDRESS:-/run/containerd/containerd.sock}
    ctr_namespace=${CONTAINERD_NAMESPACE:-default}
    containerd_keeps "$root"
}

containerd_keeps() {
    command -v ctr >/dev/null && keeper=ctr || keeper=none
    images_root=$1
    store=$1/io.containerd.snapshotter.v1.$driver/snapshots
    blobs=$1/io.containerd.content.v1.content/blobs/sha256
    written=$1/dockin
}

# run_ctr ARGUMENTS...: ask the containerd that has the images.
run_ctr() {
    ctr --address "$ctr_address" --namespace "$ctr_namespace" "$@" 2>/dev/null
}

# run_snapshots ARGUMENTS...
run_snapshots() {
    run_ctr snapshots --snapshotter "$driver" "$@"
}

# NAME_OR_ID: print name and ID of images, one a line.
ctr_list() {
    case $1 in
        sha256:*) ctr_filter=target.digest==$1 ;;
        *) ctr_filter=name==$1 ;;
    esac
    run_ctr images ls "$ctr_filter" | sed 1d | while read -r ctr_name _ ctr_digest _; do
        printf '%s %s\n' "$ctr_name" "$ctr_digest"
    done
}

ctr_look() {
    ctr_list "$1" | sed -n '1s/.* //p'
}

ctr_names() {
    ctr_list "$1" | sed 's/ .*//'
}

# containerd knows by its name alone what a container was made of, and the name may be another image's by now; but it has the
# container's snapshot on that of the image. Of an image that is not unpacked there is no container.
ctr_users() {
    ctr_describe "$1" || return 0
    ctr_children "$ctr_top" | sed '/^sha256:/d'
}

# ctr reads plain archives alone.
ctr_load() {
    unpacked_archive "$1" | ctr --address "$ctr_address" --namespace "$ctr_namespace" images import -
}

ctr_remove() {
    run_ctr images rm --sync "$1"
}

ctr_tag() {
    run_ctr images tag --force "$2" "$3"
}

# DIGEST: print the blobs that a blob's labels refer to, each on a line: config=…, l.NUMBER=… (layer), m.NUMBER=… (manifest).
ctr_labels() {
    run_ctr content ls "digest==$1" | sed -n '2s/.*[[:space:]]//p' | tr ',' '\n' | sed -n 's/^containerd.io\/gc.ref.content.//p'
}

# DIGEST: print the digests of an index's manifests.
ctr_manifests() {
    ctr_labels "$1" | sed -n 's/^m.[0-9]*=//p'
}

# ID: print the digest of the wanted image's manifest: the ID itself, or one in its index; nothing if it is not here.
ctr_wanted() {
    for digest in "$1" $(ctr_manifests "$1"); do
        case $(ctr_labels "$digest") in
            *"config=$image_id"*)
                printf '%s' "$digest"
                return
                ;;
        esac
    done
}

# ID: set ctr_keys to the keys of the snapshots of an image's layers, the lowest first, ctr_top to the last, ctr_config to the
# config's digest and ctr_blobs to the digests of the layers' blobs; fail if there is no such image, or if it is not unpacked.
# Of an index, that is the wanted image, or else the first image that is unpacked.
ctr_describe() {
    ctr_manifest=$(ctr_wanted "$1")
    for ctr_manifest in ${ctr_manifest:-"$1" $(ctr_manifests "$1")}; do
        ctr_describe_manifest "$ctr_manifest" && return
    done
    return 1
}

ctr_describe_manifest() {
    ctr_keys='' ctr_top=''
    labels=$(ctr_labels "$1")
    ctr_config=$(printf '%s\n' "$labels" | sed -n 's/^config=//p')
    ctr_blobs=$(printf '%s\n' "$labels" | sed -n 's/^l.\([0-9]*\)=/\1 /p' | sort -n | sed 's/.* //' | tr '\n' ' ')
    snapshots=$(ctr_snapshots) && [ -n "$ctr_config" ] || return
    # Only an image may have no layers.
    [ -n "$ctr_blobs" ] || { [ "$ctr_config" = "$image_id" ]; return; }
    # A config in which they are not there once, in plain text, is refused when the image is built: lib/dockin/image/manifests.py
    for digest in $(run_ctr content get "$ctr_config" | tr -d ' \011\012\015' |
        sed -n 's/.*"diff_ids":\[\([^]]*\)\].*/\1/p' | tr '",' '  '); do
        # The chain ID, https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid
        [ -z "$ctr_top" ] || digest=$(printf '%s %s' "$ctr_top" "$digest" | sha256sum)
        digest=${digest%% *}
        ctr_top=sha256:${digest#sha256:}
        ctr_keys="$ctr_keys$ctr_top "
    done
    has "$(printf '%s' "$snapshots" | tr '\n' ' ')" "${ctr_top:-none}"
}

# Print key, parent (or -) and kind of each snapshot; fail if there is no answer.
ctr_snapshots() {
    snapshot_table=$(run_snapshots ls) || return
    printf '%s\n' "$snapshot_table" | sed 1d | while read -r key parent kind; do
        [ -n "$kind" ] || kind=$parent parent=-
        printf '%s %s %s\n' "$key" "$parent" "$kind"
    done
}

# KEY: print the keys of the snapshots on a snapshot.
ctr_children() {
    printf '%s\n' "$snapshots" | sed -n "s/^\([^ ]*\) $1 .*/\1/p"
}
