# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
#
# The image information file: checks of its values, and the reader.

is_digest() {
    case $1 in
        sha256:*[!0-9a-f]*) return 1 ;;
        sha256:*) [ ${#1} -eq 71 ] ;;
        *) return 1 ;;
    esac
}

# No leading zero: the shell's arithmetic would take it for an octal number. 15 digits fit in it.
is_size() {
    case $1 in
        '' | *[!0-9]* | 0?*) return 1 ;;
    esac
    [ ${#1} -le 15 ]
}

# Nothing that leads out of a directory or looks like an option.
is_file_name() {
    case $1 in
        '' | [.-]* | *[!A-Za-z0-9._-]*) return 1 ;;
    esac
    [ ${#1} -le 255 ]
}

# The characters of an image reference with a tag, [::1]:5000/app:v1 included; the grammar is Docker's.
is_reference() {
    case $1 in
        '' | [!A-Za-z0-9[]* | *[!][A-Za-z0-9._:/-]* | *: | *:*/ | */) return 1 ;;
    esac
    case ${1##*/} in
        ?*:?*) ;;
        *) return 1 ;;
    esac
    [ ${#1} -le 512 ]
}

# Read an information file into variables. It is data: never sourced, and nothing of it is used unchecked.
read_info() {
    info=$1
    shown_info=$(printable "$info")
    case $info in
        */*) info_dir=${info%/*}/ ;;
        *) info_dir=./ ;;
    esac
    stem=${info##*/}
    stem=${stem%.image}
    # shellcheck disable=SC2034  # format is checked, and that is all
    format='' reference='' name='' archive='' archive_size='' unpacked_size='' layers_size=''
    image_id='' manifest_digest='' source_digest='' runtime=docker

    is_file_name "$stem" && [ "$stem" != "${info##*/}" ] ||
        fail "$BAD_INFO" "$shown_info: its name must have letters, digits, '.', '_' and '-', and end in '.image'" || return
    [ -f "$info" ] && [ -r "$info" ] ||
        fail "$BAD_INFO" "$shown_info: no such file, or it can't be read; install the image's package again" || return
    while IFS= read -r line || [ -n "$line" ]; do
        key=${line%%=*} value=${line#*=}
        case $line in
            '' | '#'*) continue ;;
            format=1 | runtime=docker | runtime=podman | runtime=containerd) check=true ;;
            format=*) check=false rule="1: install the $PROGRAM that belongs to the image's package" ;;
            runtime=*) check=false rule='docker, podman or containerd' ;;
            reference=* | name=*) check=is_reference rule='an image reference with a tag' ;;
            archive=*) check=is_file_name rule="a file name of letters, digits, '.', '_' and '-'" ;;
            archive_size=* | unpacked_size=* | layers_size=*) check=is_size rule='a number of bytes' ;;
            image_id=* | manifest_digest=* | source_digest=*) check=is_digest rule='sha256: and 64 hex digits' ;;
            *=*) continue ;; # of no use here, or a later version's
            *) fail "$BAD_INFO" "$shown_info: '$(printable "$line")' is no line of the form key=value" || return ;;
        esac
        "$check" "$value" || fail "$BAD_INFO" "$shown_info: invalid $key '$(printable "$value")': it is $rule; install the" \
            "image's package again" || return
        # The key is one of those above, and the value is not evaluated.
        eval "$key=\$value"
    done <"$info"
    : "${layers_size:=$unpacked_size}"
    for key in format reference name archive archive_size unpacked_size image_id manifest_digest source_digest; do
        eval "[ -n \"\$$key\" ]" ||
            fail "$BAD_INFO" "$shown_info: '$key' is missing; install the image's package again" || return
    done
    unpacked_kib=$(((unpacked_size + 1023) / 1024))
    # What the runtime holds while it loads the image, on every store: the unpacked archive and the unpacked layers.
    load_kib=$((unpacked_kib + (layers_size + 1023) / 1024))
    archive_path=$info_dir$archive
}
