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
        [ -n "$("${engine}_id" "$wanted_id")" ] || continue
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

# Tell whether there is anything to prune: cheap, as every boot asks.
prunable() {
    [ "$prune" = yes ] && [ -n "$(superseded)" ]
}

# Print the brought IDs that are neither the current one nor, if that is wanted, the one before it.
superseded() {
    kept=''
    [ "$keep_previous" = no ] || kept=$(while read -r brought_id _; do
        [ "$brought_id" = "$found_id" ] || printf '%s\n' "$brought_id"
    done <"$(brought_or_empty)" | sed -n '$p')
    while read -r brought_id _; do
        case $brought_id in
            "$found_id" | "$kept") ;;
            *) printf '%s\n' "$brought_id" ;;
        esac
    done <"$(brought_or_empty)"
}

# Remove the images that this program brought under the name before, where nothing uses them. An image that is in use is
# tried again at every boot.
prune_images() {
    for old_id in $(superseded); do
        if remove_superseded; then
            brought_but "$old_id" | write_note ".$stem.brought" || return
        fi
    done
}

remove_superseded() {
    [ -n "$("${engine}_id" "$old_id")" ] || return 0
    old_name=$(holder "$old_id")
    users=$("${engine}_users" "$old_id" "$old_name" | tr '\n' ' ')
    if [ -n "$users" ]; then
        say "$name: its earlier image $old_id stays for the container(s) $(printable "$users")"
        return 1
    fi
    has_holder=no
    # shellcheck disable=SC2046  # names have no spaces
    for old_other in $("${engine}_names" "$old_id"); do
        if [ "$old_other" != "$old_name" ]; then
            say "$name: its earlier image $old_id stays, as $(printable "$old_other")"
            return 1
        fi
        has_holder=yes
    done
    [ "$has_holder" = yes ] || old_name=$old_id
    if ! "${engine}_remove" "$old_name" >/dev/null 2>&1; then
        warn "$name: its earlier image $old_id could not be removed"
        return 1
    fi
    say "$name: removed its earlier image $old_id"
}
