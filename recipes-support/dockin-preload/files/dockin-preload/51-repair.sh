# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
#
# The check of an image with layers in doubt, and its repair.

# Tell whether the image is whole: 0, or DAMAGED, or UNKNOWN where there is no way to tell, or another status, of an error.
readonly DAMAGED=10 UNKNOWN=11
examine_image() {
    doubtful=''
    [ "$broken" = no ] || return "$DAMAGED"
    if find_doubtful; then
        [ -n "$doubtful" ] || return 0
        say "$name: checking its files, as layers of it are not recorded and may be older than this boot"
        case $doubtful in
            *.missing*) return "$DAMAGED" ;;
        esac
    elif [ "$keeper:$repaired" = ctr:no ] && command -v ctr >/dev/null && ctr_snapshots >/dev/null &&
        ! ctr_describe "$found_id"; then
        # A load that was cut short has not unpacked it.
        return "$DAMAGED"
    elif [ -z "$before" ]; then
        return 0
    elif [ "$keeper" = ctr ]; then
        return "$UNKNOWN"
    fi
    "${keeper}_check"
}

# Docker's classic store and Podman compare every file with a checksum when they save an image.
cli_check() {
    check_space "to check the image $found_id that is there, the runtime" "$(kib "$unpacked_size")" \
        "$(kib "$layers_size")" || return
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
        layer_dir=${dirs%% *} dirs=${dirs#* }
        blob=${list%% *} list=${list#* }
        case " $doubtful " in
            *" $layer "*) ;;
            *) continue ;;
        esac
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
    remove_image "$wanted_name" "$found_id" || return
    # Other images of this program may have the layers, too. They are removed where they can be loaded again.
    set +f
    set -- "$info_dir"*.image
    set -f
    for other_info; do
        (
            read_info "$other_info" && [ "$runtime" = "$asked_runtime" ] && choose_runtime || exit
            find_listed_image
            [ "$state" = loaded ] && ! is_recorded && shares_layers && prove_archive &&
                remove_image "$wanted_name" "$found_id" && say "$name: was removed, as it has damaged layers"
        ) 2>/dev/null
    done
    return 0
}

# Tell whether the image has doubtful layers, or may have, as its own or all doubtful ones are not known.
shares_layers() {
    [ -n "$doubtful" ] && cli_layers || return 0
    for layer in $layers; do
        case "$doubtful " in
            *" $layer "*) return 0 ;;
        esac
    done
    return 1
}

# An image of containerd's store needs no removal: its snapshots are unpacked again, from its blobs, when they are not there.
# So all that are in doubt go, also other images', but those that containers are on: once no label of a blob and no lease of a
# load or pull that ended with an earlier boot refers to them, containerd drops them.
ctr_repair() {
    users=''
    if [ "$broken" = yes ]; then
        remove_image "$wanted_name" "$found_id"
        return
    fi
    known=" $(recorded_layers) " refers=containerd.io/gc.ref.snapshot.$driver=
    run_ctr content ls | while read -r digest labels; do
        top=${labels#*"$refers"}
        case "$labels:$known" in
            *"$refers"*:*" ${top%%,*}".*) [ "$digest" = "$image_id" ] || continue ;;
            *"$refers"*:*) ;;
            *) continue ;;
        esac
        run_ctr content label "$digest" "$refers" </dev/null >/dev/null
    done
    for lease in $leases; do
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
    leases=''
    keep_layers
    users=$(printf '%s\n' "$snapshots" | while read -r user parent kind; do
        [ "$kind" != Committed ] || continue
        while [ -n "$parent" ]; do
            case $doubtful in
                *" $parent".*)
                    printf '%s ' "$user"
                    break
                    ;;
            esac
            parent=$(snapshot_parent "$parent")
        done
    done)
    [ -n "$users" ] || return 0
    # shellcheck disable=SC2086  # IDs have no spaces
    [ "$engine" = ctr ] || users=$("$command" inspect --format '{{.Name}}' $users 2>/dev/null | tr '\n' ' ')
    users="the container(s) $(printable "$users")"
    return 1
}

# After a load that failed: remove what may be its reason. Docker's classic store and Podman do so themselves.
cli_clear() {
    find_listed_image
}

# What an interrupted load has left, parts of blobs included.
ctr_clear() {
    broken=no doubtful=''
    run_ctr snapshots --snapshotter "$driver" rm "$PROGRAM"
    ctr_repair
    state=missing
}

# remove_image NAME ID: remove an image that is damaged, with its layers. Not what somebody else uses: fail then, and tell
# who in $users.
remove_image() {
    users=$("${engine}_users" "$2" "$1" | tr '\n' ' ')
    if [ -n "$users" ]; then
        users="the container(s) $(printable "$users")"
        return 1
    fi
    users=$("${engine}_names" "$2" | while read -r other_name; do
        case $other_name in
            '' | "$1" | "$(holder "$2")") ;;
            *) printf '%s ' "$other_name" ;;
        esac
    done)
    if [ -n "$users" ]; then
        users="its other name(s) $(printable "$users")"
        return 1
    fi
    "${engine}_remove" "$(holder "$2")" >/dev/null 2>&1
    "${engine}_remove" "$1" >/dev/null 2>&1 || users='the runtime'
    [ -z "$users" ]
}
