# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
#
# The load of one image, its repetition, and the record.

load_archive() {
    check_archive && check_space "the load" "$load_kib" "$(free_at_first "$(free_kib)")" || return
    if [ "$state" = other ]; then
        say "$name: is another image now ($found_id), loading $source_digest"
    fi
    begin_load || fail "$FAILED" "$name: can't write in $records to the disk, so nothing is loaded: see the kernel's messages" ||
        return
    hold_previous
    say "$name: loading $archive_path, $archive_size bytes"
    started=$(uptime_seconds) free_before=$(free_kib)
    timer "$progress_seconds" say_progress
    progress=$timer
    # A load that goes on when this process has been killed holds no lock.
    output=$(exec 9>&- && "${engine}_load" "$archive_path" 2>&1)
    load_status=$?
    stop_timer "$progress"
    # With containerd's store Docker 29 takes that for no failure.
    case $output in
        *'Error unpacking image'*) load_status=1 output=${output##*failed to extract } ;;
    esac
    if [ "$load_status" -ne 0 ]; then
        load_failed
        return
    fi
    seconds=$(($(uptime_seconds) - started))
    find_image
    if [ "$state" = missing ]; then
        # The runtime has it, but cannot inspect it.
        return "$DAMAGED"
    elif [ "$state" = other ]; then
        rm -f -- "$records/.$stem.loading"
        fail "$FAILED" "$name: after $load_command, $label has '$found_id' under this name, but $image_id or" \
            "$manifest_digest was loaded; the archive is kept"
        return
    fi
    brought=yes
    say "$name: loaded in $seconds s: archive $archive_size bytes, unpacked $unpacked_size bytes ($found_id)"
}

# The runtimes say nothing themselves, and read the archive long before they are done: what is seen is the space they take.
say_progress() {
    free=$(free_kib)
    is_size "$free" && is_size "$free_before" && [ "$free" -lt "$free_before" ] || free=$free_before
    say "$name: loading since $(($(uptime_seconds) - started)) s: $(((free_before - free) * 1024)) bytes of about" \
        "$((load_kib * 1024)) are written"
}

# Print why the load failed. Load once more if the archive is good: the daemon may have ended, or an earlier load may have left
# what this one failed on.
load_failed() {
    if found_no_room; then
        rm -f -- "$records/.$stem.loading"
        fail "$NO_SPACE" "$name: $label found too little space in $images_root, $(mib "$free_before") were free" \
            "before the load: $(printable "$output"); make room there and start the unit again, or reboot; the archive is kept"
        return
    fi
    if went_away; then
        fail "$NO_DOCKER" "$name: $label went away while it loaded the image; the archive is kept"
    else
        rm -f -- "$records/.$stem.loading"
        fail "$FAILED" "$name: $load_command of $archive_path failed: $(printable "$output"); the archive is kept"
    fi
    load_failure=$?
    [ "$again" = no ] && wait_for_runtime && prove_archive 2>/dev/null || return "$load_failure"
    again=yes
    warn "$name: trying once more, without what was left by loads before"
    [ "$keeper" != ctr ] || ctr_repair
    find_image
    load_archive
}

# Tell whether the daemon ended while it worked; it may be back already.
went_away() {
    case $output in
        *'Cannot connect'* | *'error during connect'*) return 0 ;;
    esac
    ! ask_runtime 10
}

# Load the image if it is missing, and examine it. If it is damaged, remove it and load it once more.
load_whole() {
    again=no doubtful=''
    load_and_examine
    outcome=$?
    if [ "$outcome:$again" = "$DAMAGED:no" ]; then
        remove_damaged || return
        load_and_examine
        outcome=$?
    fi
    case $outcome in
        "$DAMAGED")
            fail "$FAILED" "$name: has damaged files also after a new load: other images share them; remove those that" \
                "came before the last power cut, and start the unit again; the archive is kept"
            ;;
        "$UNKNOWN")
            # It serves, but is not recorded, and its archive stays.
            proved=no
            warn "$name: is there, but layers of it are not recorded, may be older than this boot, and can't be checked" \
                "(is ctr there, and DOCKIN_CONTAINERD_ROOT right?); it is taken as it is ($found_id)"
            ;;
        *) return "$outcome" ;;
    esac
}

load_and_examine() {
    [ "$state" = loaded ] || load_archive || return
    examine_image
}

# Remove the damaged layers, if they can be loaded again.
remove_damaged() {
    again=yes
    warn "$name: has damaged files ($found_id)"
    prove_archive || return
    # Its own layers make room. In containerd they can go before that is asked, as it makes them anew, if need be.
    [ "$keeper" = ctr ] || check_space "a new load" "$unpacked_kib" || return
    case $keeper in
        ctr) ctr_repair ;;
        *) cli_repair ;;
    esac || fail "$FAILED" "$name: has files that a power cut has damaged ($found_id), but is kept for $users; remove those" \
        "and start the unit again; the archive is kept" || return
    find_image
    state=missing
}

# What must not be done by two at once: load what is missing, and record what is loaded.
load_and_record() {
    brought=no
    note_layers
    adopt_record
    if [ "$state" = loaded ]; then
        ! is_begun && ! was_brought "$found_id" && ! was_brought "$image_id" || brought=yes
    elif restore_previous; then
        # What a build has written nobody can remove.
        is_built "$found_id" || brought=yes
    fi
    load_whole || return
    [ "$proved" = yes ] || return 0
    # A load onto snapshots that it found has not noted that the image uses them.
    [ "$keeper" != ctr ] || [ -z "$layers" ] ||
        run_ctr content label "$ctr_config" "containerd.io/gc.ref.snapshot.$driver=$ctr_top" >/dev/null
    if ! { sync_images && write_brought && write_record; }; then
        fail "$FAILED" "$name: loaded, but $records/$stem could not be written to the disk: see the" \
            "messages of the kernel and of $label$(archive_stays)"
    fi
}
