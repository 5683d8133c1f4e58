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
        docker) label=Docker wanted_name=$name library='' ;;
        podman) label=Podman built=$image_store/dockin library=localhost/ ;;
        containerd) label=containerd command=ctr engine=ctr load_command='ctr images import' library=docker.io/library/ ;;
    esac
}

# ask_runtime SECONDS: learn where the runtime keeps its data and which store it uses; fail if it gives no answer.
#
# records: this program's notes, in the runtime's own data, to be wiped or restored with the images.
# images_root: where the images are. foreign_store: whether what belongs to an image may be in several file systems.
# keeper: who knows the layers: cli, the runtime's own command; where containerd keeps the images ctr, or none if the target
# has no ctr. store: the directory of the layers. blobs: that of containerd's blobs. written: that of a build's records beside
# them.
ask_runtime() {
    root='' foreign_store=no keeper=cli blobs='' written=''
    "${runtime}_ask" "$1" || return 1
    case $root in
        /*) ;;
        *) return 1 ;;
    esac
    records=$root/dockin
}

# Wait until the runtime answers, and not much longer than $wait_seconds.
wait_for_runtime() {
    command -v "$command" >/dev/null ||
        fail "$NO_DOCKER" "there is no command '$command' in $PATH: install $label and its client" || return
    deadline=$(($(uptime_seconds) + wait_seconds))
    until ask_runtime "$((wait_seconds > 1 ? wait_seconds : 1))"; do
        [ "$(uptime_seconds)" -lt "$deadline" ] || fail "$NO_DOCKER" "$label did not answer within $wait_seconds s: see" \
            "'systemctl status $runtime.service'" || return
        sleep 1
    done
}

# Set state, found_id and found_dirs for the image that the runtime has under its name. An image that it lists, but cannot
# inspect, counts as missing.
find_image() {
    read -r found_id found_dirs <<END
$("${engine}_look" "$wanted_name")
END
    case $found_id in
        "$image_id" | "$manifest_digest") state=loaded ;;
        '') state=missing ;;
        *) has_wanted && state=loaded || state=other ;;
    esac
}

# Tell whether $found_id is an index that has the wanted image here, not only that of another platform; or another manifest of
# the wanted image: Docker 29 makes one when it moves an image to the containerd store (features.containerd-migration).
has_wanted() {
    case $keeper in
        ctr) [ -n "$(ctr_wanted "$found_id")" ] ;;
        *) [ "$found_id" = "$source_digest" ] ;;
    esac
}

# The name that keeps ID while the image's own name is another's.
holder() {
    printf '%sdockin-previous:%s' "$library" "${1#sha256:}"
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
