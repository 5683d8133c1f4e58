# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
#
# The command status.

# json_string TEXT: print it as a JSON string, null if it is empty.
json_string() {
    if [ -z "$1" ]; then
        printf null
    else
        printf '"%s"' "$(printable "$1" | sed 's/[\\"]/\\&/g')"
    fi
}

json_boolean() {
    case $1 in
        yes) printf true ;;
        no) printf false ;;
    esac
}

# Set state, found_id, has_archive, recorded, interrupted and error for an information file.
look_up() {
    found_id='' has_archive=no recorded=no interrupted=no error=''
    if ! read_info "$1"; then
        name='' reference='' archive_size='' runtime='' state=invalid
        return
    fi
    ! [ -f "$archive_path" ] || has_archive=yes
    [ -f "$run_dir/$stem.error" ] && IFS= read -r error <"$run_dir/$stem.error"
    choose_runtime
    if [ "$runtime" != "$asked_runtime" ]; then
        asked_runtime=$runtime
        command -v "$command" >/dev/null && ask_runtime 10 && answers=yes || answers=no
        [ "$answers" = yes ] || fail "$NO_DOCKER" "$label does not answer: see 'systemctl status $runtime.service'"
    fi
    if [ "$answers" = no ]; then
        state=unknown
        return
    fi
    find_image
    if is_recorded; then
        recorded=yes
    else
        ! is_begun || interrupted=yes
        [ "$state" != loaded ] || state=doubtful
    fi
}

status_line() {
    printf '%-40s %-8s %-8s %s\n' "$1" "$2" "$3" "$4"
}

status_json() {
    printf '%s\n  {"info": %s, "name": %s, "reference": %s, "runtime": %s, "state": "%s", "id": %s,' "$separator" \
        "$(json_string "$info")" "$(json_string "$name")" "$(json_string "$reference")" \
        "$(json_string "$runtime")" "$state" "$(json_string "$found_id")"
    printf ' "archive": %s, "archive_size": %s, "recorded": %s, "interrupted": %s, "error": %s}' \
        "$(json_boolean "$has_archive")" "${archive_size:-null}" "$(json_boolean "$recorded")" \
        "$(json_boolean "$interrupted")" "$(json_string "$error")"
    separator=','
}

command_status() {
    if [ $# -eq 0 ]; then
        set +f
        set -- "$archive_dir"/*.image
        set -f
        [ -e "$1" ] || shift
    fi

    result=0
    if [ "$form" = json ]; then
        printf '{"schema": 1, "images": ['
        separator=''
    else
        status_line IMAGE STATE ARCHIVE RECORDED
    fi
    for file; do
        look_up "$file"
        case $state in
            loaded) ;;
            unknown) result=$NO_DOCKER ;;
            *) [ "$result" -ne 0 ] || result=$FAILED ;;
        esac
        if [ "$form" = json ]; then
            status_json
        else
            status_line "${name:-$shown_info}" "$state" "$has_archive" "$recorded"
        fi
    done
    [ "$form" = text ] || printf '%s]}\n' "${separator:+
}"
    return "$result"
}
