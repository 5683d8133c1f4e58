# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
#
# Images of an earlier version: hold, restore, prune.

# Before the name goes to another image: keep the one that has it, if this program brought it and that is wanted.
hold_previous() {
    [ "$keep_previous" = yes ] && [ "$state" = other ] && was_brought "$found_id" || return 0
    "${engine}_tag" "$found_id" "$wanted_name" "$(holder "$found_id")" >/dev/null 2>&1 ||
        warn "$name: its image until now could not be kept for a rollback ($found_id)"
}

# Give the name back to an image that was brought under it before, or that a build has written: another slot of an A/B
# system wants it. Fail if there is none.
restore_previous() {
    for wanted_id in "$image_id" "$manifest_digest" "$source_digest"; do
        is_built "$wanted_id" || was_brought "$wanted_id" || continue
        [ -n "$("${engine}_look" "$wanted_id")" ] || continue
        hold_previous
        if is_built "$wanted_id" && [ "$state" = other ]; then
            # Its own name comes to light again: before Podman 5, an image of an additional store can't be tagged.
            podman untag "$found_id" "$wanted_name" >/dev/null 2>&1
            find_image
        fi
        if [ "$state" != loaded ]; then
            "${engine}_tag" "$wanted_id" "$(holder "$wanted_id")" "$wanted_name" >/dev/null 2>&1 || continue
            find_image
        fi
        [ "$state" = loaded ] || continue
        say "$name: is the image of an earlier time again, which was kept ($found_id)"
        return 0
    done
    return 1
}

# Print the brought IDs to remove, if any: but the current one and, if that is wanted, the one before it.
superseded() {
    case $prune:$keep_previous in
        yes:no) brought_but "$found_id" ;;
        yes:yes) brought_but "$found_id" | sed '$d' ;;
    esac | sed 's/ .*//'
}

# Remove the images that this program brought under the name before, where nothing uses them. An image that is in use is
# tried again at every boot.
prune_images() {
    for old_id in $(superseded); do
        if [ -n "$("${engine}_look" "$old_id")" ]; then
            if ! remove_image "$old_id"; then
                say "$name: its earlier image $old_id stays for $users"
                continue
            fi
            say "$name: removed its earlier image $old_id"
        fi
        brought_but "$old_id" | write_note ".$stem.brought" || return
    done
}
