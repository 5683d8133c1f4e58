# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
#
# Notes beside the images.
#
#   STEM            the record: this image is on the disk, whole, with these layers
#   .STEM.loading   this program began to load the image with this ID: what is there is its work; free= has the KiB that were
#                   free before
#   .STEM.brought   the IDs that this program brought under the name, the current one last; all were recorded, and behind the ID
#                   are the layers, if Docker's classic store or Podman has them. Where there is a record and no such note, a
#                   build wrote the record with the image (lib/dockin/target/imageinfo.py)
#
# An additional image store of Podman's has records of its own, in $built: nobody writes there but the build. A store of
# containerd's that a build has written has records in $written, and containerd changes it.

# record_text ID: print what the record says of the image under that ID.
record_text() {
    printf '%s\n' "# $PROGRAM: this image is on the disk, whole" format=1 "reference=$reference" "name=$name" "id=$1" \
        "image_id=$image_id" "manifest_digest=$manifest_digest" "source_digest=$source_digest"
}

# note_begins NOTE TEXT: tell whether the note's first lines are the text's.
note_begins() {
    case $(cat -- "$1" 2>/dev/null) in
        "$2
"*) return 0 ;;
    esac
    return 1
}

# Print what is another each time that the image is made anew, be it the same image: the directory of its top layer, or in
# containerd the file of its config.
made() {
    case $keeper in
        cli) cli_layers && printf '%s' "${layers##* }" ;;
        *) stat -c %i.%Z -- "$blobs/${image_id#sha256:}" 2>/dev/null ;;
    esac
}

is_recorded() {
    note_begins "$records/$stem" "$(record_text "$found_id")
made=$(made)" || is_built "$found_id" || is_written
}

# is_built ID: tell whether a build has written the image into an additional store.
is_built() {
    [ -n "$built" ] && note_begins "$built/$stem" "$(record_text "$1")"
}

# Tell whether containerd has the image as a build has written it: blobs that are loaded have another time.
is_written() {
    [ -n "$written" ] && note_begins "$written/$stem" "$(record_text "$found_id")
made=built.$(stat -c %Y -- "$blobs/${image_id#sha256:}" 2>/dev/null)"
}

# Write everything that belongs to the images to the disk; a failure is an I/O error. Where a containerd that is not Docker's
# keeps blobs and snapshots can't be learnt for sure.
sync_images() {
    if [ "$foreign_store" = no ]; then
        sync -f "$root" 2>/dev/null && return
        # Either this sync knows no -f, or the file system refused.
        sync -f / 2>/dev/null && return 1
    fi
    sync
}

# One load at a time, also of several units at once: the free space is counted for one.
lock() {
    mkdir -p -- "$records" || return 1
    command -v flock >/dev/null || return 0
    # A failing exec would end the shell, so the file is tried first.
    (: >>"$records/.lock") || return 1
    exec 9>>"$records/.lock"
    flock 9
}

# write_note FILE: write standard input to a note: a whole file or none, whatever happens.
write_note() {
    cat >"$records/.new" &&
        sync "$records/.new" 2>/dev/null &&
        mv -f -- "$records/.new" "$records/$1"
}

# Note that a load begins, with what is free before it. The record goes: what the load makes is not what was recorded, but may
# look so, to made() for example, where the clock begins at the same second at each boot.
begin_load() {
    printf '%s\n' "$image_id" "free=$(free_at_first "$(free_kib)")" | write_note ".$stem.loading" || return
    ! [ -f "$records/$stem" ] || { rm -f -- "$records/$stem" && sync_images; }
}

# Tell whether this program began to load the image, and did not come to its record.
is_begun() {
    note_begins "$records/.$stem.loading" "$image_id"
}

# Record that the image is on the disk, and drop its marker.
write_record() {
    {
        record_text "$found_id"
        printf '%s\n' "made=$(made)" "layers=$layers"
    } | write_note "$stem" && sync_images && rm -f -- "$records/.$stem.loading"
}

# note_value NOTE KEY: print a key's value.
note_value() {
    sed -n "s/^$2=//p" "$1" 2>/dev/null
}

was_brought() {
    [ -n "$(sed -n "/^$1/p" "$records/.$stem.brought" 2>/dev/null)" ]
}

# ID: print the lines of the other brought images.
brought_but() {
    sed "/^$1/d" "$records/.$stem.brought" 2>/dev/null
}

# brought_line ID LAYERS: print a line of the note of brought images. What ctr_layers prints may be a later snapshot's as well.
brought_line() {
    case $keeper:$2 in
        cli:?*) printf '%s %s\n' "$1" "$2" ;;
        *) printf '%s\n' "$1" ;;
    esac
}

# Have the note of brought images where an image was recorded without.
adopt_record() {
    adopted=$records/$stem
    [ -z "$written" ] || [ -f "$adopted" ] || adopted=$written/$stem
    [ -f "$adopted" ] && ! [ -f "$records/.$stem.brought" ] || return 0
    brought_line "$(note_value "$adopted" id)" "$(note_value "$adopted" layers)" | write_note ".$stem.brought"
}

# Note whether this program brought the image $found_id, as the current one.
write_brought() {
    {
        brought_but "$found_id"
        [ "$brought" = no ] || brought_line "$found_id" "$layers"
    } | write_note ".$stem.brought"
}
