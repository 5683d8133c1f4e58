# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
#
# The image information file: checks of its values, and the reader.

is_digest() {
    case $1 in
        sha256:*) ;;
        *) return 1 ;;
    esac
    case ${1#sha256:} in
        *[!0-9a-f]*) return 1 ;;
    esac
    [ ${#1} -eq 71 ]
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

is_platform() {
    case $1 in
        [!a-z0-9]* | */[!a-z0-9]* | */ | *[!a-z0-9/._-]*) return 1 ;;
        ?*/?*) return 0 ;;
    esac
    return 1
}

is_runtime() {
    case $1 in
        docker | podman | containerd) return 0 ;;
    esac
    return 1
}

# want KEY VALUE RULE CHECK: complain if CHECK refuses the value of a key.
want() {
    "$4" "$2" && return 0
    if [ -z "$2" ]; then
        fail "$BAD_INFO" "$shown_info: '$1' is missing: $3; install the image's package again"
    else
        fail "$BAD_INFO" "$shown_info: invalid $1 '$(printable "$2")': $3; install the image's package again"
    fi
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
    format='' reference='' name='' platform='' archive='' archive_size='' unpacked_size='' layers_size=''
    image_id='' manifest_digest='' source_digest='' runtime=docker

    if ! is_file_name "$stem" || [ "$stem" = "${info##*/}" ]; then
        fail "$BAD_INFO" "$shown_info: the name of an image information file has letters, digits, '.', '_'" \
            "and '-', and ends in '.image'"
        return
    fi
    if ! [ -f "$info" ] || ! [ -r "$info" ]; then
        fail "$BAD_INFO" "$shown_info: no such file, or it can't be read; install the image's package again"
        return
    fi
    while IFS= read -r line || [ -n "$line" ]; do
        case $line in
            '' | '#'*) continue ;;
            *=*) ;;
            *)
                fail "$BAD_INFO" "$shown_info: '$(printable "$line")' is no line of the form key=value"
                return
                ;;
        esac
        value=${line#*=}
        case ${line%%=*} in
            format) format=$value ;;
            reference) reference=$value ;;
            name) name=$value ;;
            platform) platform=$value ;;
            archive) archive=$value ;;
            archive_size) archive_size=$value ;;
            unpacked_size) unpacked_size=$value ;;
            layers_size) layers_size=$value ;;
            image_id) image_id=$value ;;
            manifest_digest) manifest_digest=$value ;;
            source_digest) source_digest=$value ;;
            runtime) runtime=$value ;;
            *) ;; # a later version's
        esac
    done <"$info"

    if [ "$format" != 1 ]; then
        fail "$BAD_INFO" "$shown_info: format '$(printable "$format")' is unknown: this $PROGRAM reads" \
            "format 1; install the $PROGRAM that belongs to the image's package"
        return
    fi
    : "${layers_size:=$unpacked_size}"
    want reference "$reference" "it is an image reference with a tag" is_reference &&
        want name "$name" "it is an image reference with a tag" is_reference &&
        want platform "$platform" "it is os/architecture[/variant]" is_platform &&
        want runtime "$runtime" "it is docker, podman or containerd" is_runtime &&
        want archive "$archive" "it is a file name of letters, digits, '.', '_' and '-'" is_file_name &&
        want archive_size "$archive_size" "it is a number of bytes" is_size &&
        want unpacked_size "$unpacked_size" "it is a number of bytes" is_size &&
        want layers_size "$layers_size" "it is a number of bytes" is_size &&
        want image_id "$image_id" "it is sha256: and 64 hex digits" is_digest &&
        want manifest_digest "$manifest_digest" "it is sha256: and 64 hex digits" is_digest &&
        want source_digest "$source_digest" "it is sha256: and 64 hex digits" is_digest ||
        return "$BAD_INFO"
    archive_path=$info_dir$archive
}
