# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
#
# Free space: what a load needs, and whether the file system outlasts a reboot.

# check_space PURPOSE KIB [FREE]: check that so much is free, a sixteenth more, for the file system's blocks, and 8 MiB, for the
# runtime's own notes. With FREE, the KiB that were free before an interrupted load, its remains count as free. Where something
# else took that space, the runtime finds no room.
check_space() {
    needed=$(($2 + $2 / 16 + 8192))
    free=$(free_kib)
    if ! is_size "$free"; then
        warn "$name: the free space in $images_root is unknown, so it is not checked"
        return 0
    fi
    [ -z "${3:-}" ] || needed=$((needed - $3 + free))
    [ "$free" -ge "$needed" ] && return 0
    fail "$NO_SPACE" "$name: too little space in $images_root: $1 needs $(mib "$needed")," \
        "$(mib "$free") are free, $(mib "$((needed - free))") are missing; make room there and start the" \
        "unit again, or reboot$(archive_stays)"
}

# Print the end of a message, if there is an archive.
archive_stays() {
    ! [ -f "$archive_path" ] || printf '; the archive is kept'
}

# free_at_first KIB: print how much was free before this program began to load the image, KIB if it did not or if that is more.
free_at_first() {
    free_noted=''
    ! is_begun || free_noted=$(note_value "$records/.$stem.loading" free)
    is_size "$free_noted" && is_size "$1" && [ "$free_noted" -gt "$1" ] || free_noted=$1
    printf '%s' "$free_noted"
}

# Tell whether the runtime says in $output that it found no room: at the end of a line, as names of the image's files may have
# such words, too.
found_no_room() {
    [ -n "$(printf '%s\n' "$output" | sed -n -e '/[Nn]o space left on device\(: unknown\)*"*$/p' \
        -e '/quota exceeded\(: unknown\)*"*$/p')" ]
}

free_kib() {
    df -P -k -- "$images_root" 2>/dev/null | {
        read -r _ && read -r _ _ _ available _ && printf '%s' "$available"
    }
}

# volatile PATH [LEVEL]: tell whether what is stored there is gone after a reboot, or may be, and print on what it is. A file
# system that can't be found among those that are mounted counts as such.
# LEVEL counts overlays on overlays, which may seem to have no end where a directory of the same name hides the right one.
volatile() {
    mount_point=$(df -P -- "$1" 2>/dev/null | {
        read -r _ && read -r _ _ _ _ _ mount_point && printf '%s' "$mount_point"
    })
    mounted=$(while read -r device place type options _; do
        [ "$place" = "$mount_point" ] && printf '%s %s %s\n' "$device" "$type" "$options"
    done </proc/mounts | sed -n '$p')
    type=${mounted#* }
    case $mounted in
        '') printf 'a file system that /proc/mounts does not name' ;;
        *' tmpfs '* | *' ramfs '* | *' rootfs '*) printf '%s' "${type%% *}" ;;
        /dev/ram* | /dev/zram*) printf '%s' "${mounted%% *}" ;;
        *' overlay '*upperdir=*)
            upper=${mounted#*upperdir=}
            upper=${upper%%,*}
            if ! [ -d "$upper" ] || [ "${2:-0}" -ge 3 ]; then
                printf 'an overlay of which %s is not known' "$(printable "$upper")"
                return
            fi
            volatile "$upper" "$((${2:-0} + 1))"
            ;;
        *) return 1 ;;
    esac
}
