# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
#
# The archive: its checks before a load, and its removal.

check_archive() {
    # A runtime that went away also looks like a missing image.
    if ! [ -f "$archive_path" ] && ! ask_runtime 10; then
        fail "$NO_DOCKER" "$name: $label does not answer any more"
    elif ! [ -f "$archive_path" ]; then
        fail "$NO_ARCHIVE" "$name: $label does not have the image whole, and its archive $archive_path is gone (flushed after" \
            "an earlier load?); install the image's package again, or run '$runtime pull $wanted_name'"
    else
        found_size=$(stat -L -c %s -- "$archive_path")
        [ "$found_size" = "$archive_size" ] || fail "$FAILED" "$name: the archive $archive_path has $found_size bytes," \
            "$archive_size are right: it is damaged; install the image's package again"
    fi
}

# Read the archive to its end, as what is there goes before it is loaded. Where the target has no program for that, as Docker
# needs none but xz, it is taken for good.
prove_archive() {
    check_archive || return
    program=$(decompressor "$archive_path")
    command -v "${program%% *}" >/dev/null || return 0
    # A pipe has the status of its end alone, and tar takes what is no archive's content, too.
    unpacked_archive "$archive_path" >/dev/null 2>&1 &&
        unpacked_archive "$archive_path" 2>/dev/null | tar -tf - >/dev/null 2>&1 && return
    fail "$FAILED" "$name: the archive $archive_path can't be read to its end: it is damaged; install the image's package" \
        "again; what is there stays"
}

# Print what changes when a package replaces the archive or its information file.
files_stamp() {
    stat -L -c '%d %i %Z %s' -- "$info" "$archive_path" 2>/dev/null
}

# Remove the archive. Where it can't be removed it just stays: a read-only root is no error.
flush() {
    [ "$flush" = yes ] && [ -f "$archive_path" ] || return 0
    if ! is_built "$found_id" && medium=$(volatile "$images_root"); then
        say "$name: the archive stays: $images_root is on $medium, which may not outlast this boot"
    elif [ "$(files_stamp)" != "$stamp" ] || [ "$(stat -L -c %s -- "$archive_path")" != "$archive_size" ]; then
        # A package that was installed meanwhile has brought another archive.
        say "$name: the archive stays: $archive_path has been replaced meanwhile"
    elif rm -f -- "$archive_path" 2>/dev/null; then
        say "$name: flushed the archive, $archive_size bytes"
    else
        say "$name: the archive stays: $archive_path can't be removed (a read-only file system?)"
    fi
}
