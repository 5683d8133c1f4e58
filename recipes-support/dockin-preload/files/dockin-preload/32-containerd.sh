# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
#
# containerd through ctr: the same interface, and queries of snapshots and blobs that Docker's containerd store needs, too.

containerd_ask() {
    bounded "$1" ctr version >/dev/null 2>&1 || return 1
    # The socket, the namespace and the snapshotter are what ctr and nerdctl take by themselves.
    root=$containerd_root driver=${CONTAINERD_SNAPSHOTTER:-overlayfs}
    ctr_address=${CONTAINERD_ADDRESS:-/run/containerd/containerd.sock}
    ctr_namespace=${CONTAINERD_NAMESPACE:-default}
    containerd_keeps "$root"
}

containerd_keeps() {
    keeper=ctr images_root=$1
    store=$1/io.containerd.snapshotter.v1.$driver/snapshots
    blobs=$1/io.containerd.content.v1.content/blobs/sha256
    written=$1/dockin
}

# run_ctr ARGUMENTS...: ask the containerd that has the images.
run_ctr() {
    ctr --address "$ctr_address" --namespace "$ctr_namespace" "$@" 2>/dev/null
}

ctr_look() {
    ctr_id "$1"
}

# ctr_list FILTER: print name, type and digest of images; the first line is a heading.
ctr_list() {
    run_ctr images ls "$1" | {
        read -r _
        while read -r ctr_name ctr_type ctr_digest _; do
            printf '%s %s %s\n' "$ctr_name" "$ctr_type" "$ctr_digest"
        done
    }
}

ctr_filter() {
    case $1 in
        sha256:*) printf 'target.digest==%s' "$1" ;;
        *) printf 'name==%s' "$1" ;;
    esac
}

ctr_id() {
    ctr_list "$(ctr_filter "$1")" | {
        read -r _ _ ctr_digest && printf '%s' "$ctr_digest"
    }
}

ctr_listed_id() {
    ctr_id "$1"
}

ctr_names() {
    ctr_list "$(ctr_filter "$1")" | while read -r ctr_name _; do
        printf '%s\n' "$ctr_name"
    done
}

# containerd knows by its name alone what a container was made of, and the name may be another image's by now; but it has the
# container's snapshot on that of the image. Where that can't be learnt, whoever has a name of the image counts.
ctr_users() {
    if ctr_describe "$1"; then
        printf '%s\n' "$snapshots" | while read -r key parent _; do
            [ "$parent" != "$ctr_top" ] || [ "${key#sha256:}" != "$key" ] || printf '%s\n' "$key"
        done
    else
        run_ctr containers ls --quiet "image==$2" "image==$wanted_name"
    fi
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

# ID: set ctr_keys to the keys of the snapshots of an image's layers, the lowest first, ctr_top to the last, ctr_config to the
# config's digest and ctr_blobs to the digests of the layers' blobs; fail if there is no such image, or if it is not unpacked.
ctr_describe() {
    ctr_keys='' ctr_top=''
    labels=$(ctr_labels "$1")
    ctr_config=$(printf '%s\n' "$labels" | sed -n 's/^config=//p')
    if [ -n "$ctr_config" ]; then
        ctr_blobs=$(printf '%s\n' "$labels" | sed -n 's/^l.\([0-9]*\)=/\1 /p' | sort -n | while read -r _ digest; do
            printf '%s ' "$digest"
        done)
        if [ -z "$ctr_blobs" ]; then
            # No layers, which only an image may have: then a container's snapshot has no parent.
            ctr_top=-
            snapshots=$(ctr_snapshots) && [ "$ctr_config" = "$image_id" ]
            return
        fi
        # A config in which they are not there once, in plain text, is refused when the image is built: lib/dockin/image/manifests.py
        for digest in $(run_ctr content get "$ctr_config" | tr -d ' \011\012\015' |
            sed -n 's/.*"diff_ids":\[\([^]]*\)\].*/\1/p' | tr '",' '  '); do
            # The chain ID, https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid
            [ -z "$ctr_top" ] || digest=$(printf '%s %s' "$ctr_top" "$digest" | sha256sum)
            digest=${digest%% *}
            ctr_top=sha256:${digest#sha256:}
            ctr_keys="$ctr_keys$ctr_top "
        done
        snapshots=$(ctr_snapshots) && [ -n "$ctr_top" ] && [ -n "$(snapshot_parent "$ctr_top")" ]
        return
    fi
    # An index, of which not all manifests need to be here. That of the wanted image goes before another platform's.
    # shellcheck disable=SC2046  # digests have no spaces
    set -- $(printf '%s\n' "$labels" | sed -n 's/^m.[0-9]*=//p')
    for digest; do
        [ "$(ctr_config_of "$digest")" != "$image_id" ] || { ctr_describe "$digest"; return; }
    done
    for digest; do
        ctr_describe "$digest" && return
    done
    return 1
}

# DIGEST: print the digest of a manifest's config, nothing for what is no manifest or not here.
ctr_config_of() {
    ctr_labels "$1" | sed -n 's/^config=//p'
}

# DIGEST: print the digests of an index's manifests.
ctr_manifests() {
    ctr_labels "$1" | sed -n 's/^m.[0-9]*=//p'
}

# Print key, parent (or -) and kind of each snapshot; fail if there is no answer.
ctr_snapshots() {
    snapshot_table=$(run_ctr snapshots --snapshotter "$driver" ls) || return
    printf '%s\n' "$snapshot_table" | {
        read -r _
        while read -r key parent kind; do
            [ -n "$kind" ] || kind=$parent parent=-
            printf '%s %s %s\n' "$key" "$parent" "$kind"
        done
    }
}

snapshot_parent() {
    while read -r key parent _; do
        [ "$key" != "$1" ] || printf '%s' "$parent"
    done <<END
$snapshots
END
}
