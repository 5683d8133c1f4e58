# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
#
# The runtimes.
#
# Docker and Podman have the same commands, which the functions cli_* call; containerd is asked by ctr, which comes with
# it: ctr_*. An ID is what the runtime calls the image: the image ID (config digest) in Docker's classic store and in
# Podman, in Docker's containerd store and in containerd the digest of what the archive's index.json names: a manifest,
# or the registry's own index with DOCKIN_LAYERS = "registry". As digests they all name the wanted image alone, so which
# store it is need not be known to recognise it.

# Set what is fixed for a runtime: label, command, engine (the functions' prefix), how it loads, and the image's name.
choose_runtime() {
    command=$runtime engine=cli wanted_name=$reference load_command="$runtime load" built=''
    case $runtime in
        docker) label=Docker wanted_name=$name ;;
        podman) label=Podman built=$image_store/dockin ;;
        containerd) label=containerd command=ctr engine=ctr load_command='ctr images import' ;;
    esac
}

# ask_runtime SECONDS: learn where the runtime keeps its data and which store it uses; fail if it gives no answer.
#
# records: this program's notes, in the runtime's own data, to be wiped or restored with the images.
# images_root: where the images are. foreign_store: whether what belongs to an image may be in several file systems.
# keeper: who knows the layers: cli, the runtime's own command, or ctr, where containerd keeps the images.
# store: the directory of the layers. blobs: that of containerd's blobs. written: that of a build's records beside them.
ask_runtime() {
    root='' foreign_store=no keeper=cli blobs='' written=''
    "${runtime}_ask" "$1" || return 1
    case $root in
        /*) ;;
        *) return 1 ;;
    esac
    records=$root/dockin
}

# Wait until the runtime answers, and no longer than $wait_seconds.
wait_for_runtime() {
    if ! command -v "$command" >/dev/null; then
        fail "$NO_DOCKER" "there is no command '$command' in $PATH: install $label and its client"
        return
    fi
    deadline=$(($(uptime_seconds) + wait_seconds))
    left=$wait_seconds
    until ask_runtime "$((left > 1 ? left : 1))"; do
        left=$((deadline - $(uptime_seconds)))
        if [ "$left" -lt 0 ]; then
            fail "$NO_DOCKER" "$label did not answer within $wait_seconds s:" \
                "see 'systemctl status $runtime.service'"
            return
        fi
        sleep 1
    done
}

# Set state, found_id and found_dirs for the image that the runtime has under its name.
find_image() {
    found_id=$("${engine}_look" "$wanted_name")
    found_dirs=${found_id#"${found_id%% *}"}
    found_dirs=${found_dirs# }
    found_id=${found_id%% *}
    case $found_id in
        "$image_id" | "$manifest_digest") state=loaded ;;
        "$source_digest") has_platform && state=loaded || state=other ;;
        '') state=missing ;;
        *) is_migrated && state=loaded || state=other ;;
    esac
}

# Tell whether the index $found_id has the wanted image here, and not only that of another platform.
has_platform() {
    [ "$keeper" = ctr ] && command -v ctr >/dev/null || return 0
    for digest in $(ctr_manifests "$found_id"); do
        [ "$(ctr_config_of "$digest")" != "$image_id" ] || return 0
    done
    return 1
}

# Tell whether the image is the wanted one below a manifest of its own: Docker 29 makes one of each image that it takes from its
# classic store to containerd's (features.containerd-migration).
is_migrated() {
    [ "$runtime:$keeper" = docker:ctr ] || return
    [ "$(ctr_config_of "$found_id")" = "$image_id" ]
}

# As find_image, and set broken if the runtime has the image but can't inspect it.
find_listed_image() {
    broken=no
    find_image
    if [ "$state" = missing ]; then
        found_id=$("${engine}_listed_id" "$wanted_name")
        case $found_id in
            '') return 0 ;;
            "$image_id" | "$manifest_digest" | "$source_digest") state=loaded ;;
            *) state=other ;;
        esac
        broken=yes
    fi
}

# The name that keeps ID while the image's own name is another's.
holder() {
    case $runtime in
        docker) printf 'dockin-previous:%s' "${1#sha256:}" ;;
        podman) printf 'localhost/dockin-previous:%s' "${1#sha256:}" ;;
        containerd) printf 'docker.io/library/dockin-previous:%s' "${1#sha256:}" ;;
    esac
}

# FILE: print the command that decompresses an archive, by its first bytes, as Docker chooses.
decompressor() {
    case $(dd "if=$1" bs=4 count=1 2>/dev/null | od -b) in
        '0000000 375 067 172 130'*) printf 'xz -dc' ;;
        '0000000 037 213'*) printf 'gzip -dc' ;;
        '0000000 102 132 150'*) printf 'bzip2 -dc' ;;
        '0000000 050 265 057 375'* | '0000000 1'[23]'? 052 115 030'*) printf 'zstd -dc' ;;
        *) printf cat ;;
    esac
}

# FILE: print an archive, decompressed.
unpacked_archive() {
    # shellcheck disable=SC2046  # a command and its option
    $(decompressor "$1") -- "$1"
}
