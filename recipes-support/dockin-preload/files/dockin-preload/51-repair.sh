# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
#
# The check of an image with layers in doubt, and its repair.

# Tell whether the image is whole: 0, or DAMAGED, or UNKNOWN where there is no way to tell, or another status, of an error.
readonly DAMAGED=10 UNKNOWN=11
examine_image() {
    if find_doubtful; then
        [ -n "$doubtful" ] || return 0
        say "$name: checking its files, as layers of it are not recorded and may be older than this boot"
        case $doubtful in
            *.missing*) return "$DAMAGED" ;;
        esac
    elif [ "$keeper:$again" = ctr:no ] && ctr_snapshots >/dev/null && ! ctr_describe "$found_id"; then
        # A load that was cut short has not unpacked it.
        return "$DAMAGED"
    elif [ -z "$before" ]; then
        return 0
    elif [ "$keeper" != cli ]; then
        return "$UNKNOWN"
    fi
    "${keeper}_check"
}

# Docker's classic store and Podman compare every file with a checksum when they save an image.
cli_check() {
    check_space "to check the image $found_id that is there, the runtime" "$unpacked_kib" || return
    output=$("$command" save -- "$found_id" 2>&1 >/dev/null) && return
    check_status=$?
    if found_no_room; then
        fail "$NO_SPACE" "$name: is there, but can't be checked: $(printable "$output")$(archive_stays)"
    elif went_away; then
        fail "$NO_DOCKER" "$name: $label went away while it checked the image$(archive_stays)"
    elif [ "$check_status" -gt 125 ] || [ -z "$output" ]; then
        fail "$FAILED" "$name: is there, but its check ended with status $check_status$(archive_stays)"
    else
        return "$DAMAGED"
    fi
}

# containerd has no checksums of files; but torn files are short. Compare the bytes in each layer in doubt with those in its
# blob, which containerd does write to the disk. More bytes are right: files that a layer links to are copied from lower ones.
ctr_check() {
    dirs=$layer_dirs list=$ctr_blobs
    for layer in $layers; do
        layer_dir=${dirs%%:*} dirs=${dirs#*:}
        blob=${list%% *} list=${list#* }
        has "$doubtful" "$layer" || continue
        blob=$blobs/${blob#sha256:}
        # Not a compression that the target has a program for, for example.
        unpacked_archive "$blob" 2>/dev/null | tar -tf - >/dev/null 2>&1 || return "$UNKNOWN"
        wanted_bytes=$(unpacked_archive "$blob" 2>/dev/null | tar -xOf - 2>/dev/null | wc -c)
        [ "$(file_bytes "$layer_dir")" -ge "$((wanted_bytes))" ] || return "$DAMAGED"
    done
}

# DIRECTORY: print how many bytes its files have, each counted once whatever names it has.
file_bytes() {
    find "$1" -type f -exec stat -c '%i %s' {} + | sort -u | {
        bytes=0
        while read -r _ size; do
            bytes=$((bytes + size))
        done
        printf '%s' "$bytes"
    }
}

# Make the runtime forget the damaged layers, so that the next load makes them anew. Fail where somebody else uses them, and
# tell who in $users.
cli_repair() {
    remove_image "$found_id" "$wanted_name" || return
    # Other images of this program may share the layers: those that are not recorded, and can be loaded again, go as well.
    set +f
    set -- "$info_dir"*.image
    set -f
    for other_info; do
        (
            read_info "$other_info" && [ "$runtime" = "$asked_runtime" ] && choose_runtime && find_image || exit
            [ "$state" != other ] && ! is_recorded && prove_archive && remove_image "$found_id" "$wanted_name" &&
                say "$name: was removed, as it may have damaged layers"
        ) 2>/dev/null
    done
    return 0
}

# containerd unpacks an image again, from its blobs, when its snapshots are not there. So all snapshots that no record has are
# dropped, also those of other images, but not what containers are on. containerd does that, and drops partial blobs, once no
# label of a blob refers to them, and no lease: that of an interrupted load or pull would keep them for a day.
ctr_repair() {
    known=" $(recorded_layers) " refers=containerd.io/gc.ref.snapshot.$driver=
    run_ctr content ls | sed -n "s|^\([^[:space:]]*\).*$refers\([^,]*\).*|\1 \2|p" | while read -r digest top; do
        case $known in
            *" $top".*) [ "$digest" = "$image_id" ] || continue ;;
        esac
        run_ctr content label "$digest" "$refers" </dev/null >/dev/null
    done
    for lease in $(run_ctr leases ls | sed -n '/containerd.io\/gc.expire=/s/[[:space:]].*//p'); do
        run_ctr leases rm "$lease" >/dev/null
    done
    run_ctr leases create --id "$PROGRAM" >/dev/null
    run_ctr leases rm --sync "$PROGRAM" >/dev/null
    if ! snapshots=$(ctr_snapshots); then
        users='a containerd that gives no answer'
        return 1
    fi
    # What comes again is new.
    before=$(ctr_before)
    layer=${doubtful# }
    users=$(ctr_containers "${layer%%.*}")
    [ -n "$users" ] || return 0
    # shellcheck disable=SC2086  # IDs have no spaces
    [ "$engine" = ctr ] || users=$("$command" inspect --format '{{.Name}}' $users 2>/dev/null | tr '\n' ' ')
    users="the container(s) $(printable "$users")"
    return 1
}

# KEY: print the containers that are on a layer, or on one that is on it.
ctr_containers() {
    for child in $(ctr_children "$1"); do
        case $child in
            sha256:*) ctr_containers "$child" ;;
            *) printf '%s ' "${child%-init}" ;;
        esac
    done
}

# remove_image ID [NAME]: remove an image with its layers, by its name and the one that keeps it. Not what somebody else uses:
# fail then, and tell who in $users.
remove_image() {
    own_names=${2:-}
    users=$("${engine}_users" "$1" | tr '\n' ' ')
    [ -z "$users" ] || users="the container(s) $(printable "$users")"
    for other_name in $("${engine}_names" "$1"); do
        case $other_name in
            "${2:-}") ;;
            "$(holder "$1")") own_names="$other_name $own_names" ;;
            *) users="${users:+$users and }its other name $(printable "$other_name")" ;;
        esac
    done
    [ -z "$users" ] || return
    for own_name in ${own_names:-"$1"}; do
        "${engine}_remove" "$own_name" >/dev/null 2>&1 || users='the runtime'
    done
    [ -z "$users" ]
}
