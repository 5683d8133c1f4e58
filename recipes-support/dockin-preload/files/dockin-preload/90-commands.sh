# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
#
# The command load.

load_image() {
    read_info "$1" && own_directory "$run_dir" || return
    stamp=$(files_stamp)
    choose_runtime
    watch
    load_read_image
    image_status=$?
    unwatch
    note_error "$image_status"
    return "$image_status"
}

# note_error STATUS: keep an image's last error of this boot, for status.
note_error() {
    if [ "$1" -eq 0 ]; then
        rm -f -- "$run_dir/$stem.error" 2>/dev/null
    elif mkdir -p -- "$run_dir" 2>/dev/null; then
        (printf '%s\n' "$last_error" >"$run_dir/$stem.error") 2>/dev/null
    fi
}

load_read_image() {
    if [ "$runtime" != "$asked_runtime" ]; then
        wait_for_runtime || return
        asked_runtime=$runtime
    fi
    own_directory "$records" || return
    proved=yes
    if is_done && [ -z "$(superseded)" ]; then
        say "$name: is loaded and recorded, nothing to do"
    else
        # The wait for the loads of other processes has no limit.
        unwatch
        lock || fail "$FAILED" "$name: can't write in $records: run this as root, on the machine of $label" || return
        watch
        # Another process may have loaded it meanwhile.
        is_done || load_and_record
        load_status=$?
        [ "$load_status:$proved" != 0:yes ] || prune_images
        exec 9>&-
        [ "$load_status" -eq 0 ] || return "$load_status"
    fi
    [ "$proved" = no ] || flush
}

is_done() {
    find_image
    [ "$state" = loaded ] && is_recorded && rm -f -- "$records/.$stem.loading"
}

command_load() {
    [ $# -gt 0 ] || fail "$USAGE" "load needs an image information file (*.image): see $PROGRAM --help" || return
    result=0 last_error=''
    for file; do
        load_image "$file"
        file_status=$?
        # Every image is tried; different failures end in the general status.
        case $file_status:$result in
            0:* | "$result":*) ;;
            *:0) result=$file_status ;;
            *) result=$FAILED ;;
        esac
    done
    return "$result"
}
