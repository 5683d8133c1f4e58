# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
#
# The load of one image, its retries, and the record.

load_archive() {
    refused=no
    check_archive && check_load_space || return
    if [ "$state" = other ]; then
        say "$name: is another image now ($found_id), loading $source_digest"
    fi
    if ! begin_load; then
        fail "$FAILED" "$name: can't write in $records to the disk, so nothing is loaded: see the messages of" \
            "the kernel"
        return
    fi
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
        if found_no_room; then
            load_failed "$NO_SPACE" "$label found too little space in $images_root, $(mib "$free_before") were free" \
                "before the load: $(printable "$output"); make room there and start the unit again, or reboot; the" \
                "archive is kept"
            return
        fi
        if went_away; then
            if [ "$again" = yes ]; then
                fail "$NO_DOCKER" "$name: $label went away while it loaded the image; the archive is kept"
                return
            fi
            again=yes
            warn "$name: $label went away while it loaded the image; waiting for it"
            wait_for_runtime && find_image && load_archive
            return
        fi
        refused=yes
        load_failed "$FAILED" "$load_command of $archive_path failed: $(printable "$output"); the archive is kept"
        return
    fi
    seconds=$(($(uptime_seconds) - started))
    find_listed_image
    if [ "$state" != loaded ]; then
        load_failed "$FAILED" "after $load_command, $label has '$found_id' under this name, but $image_id or $manifest_digest" \
            "was loaded; the archive is kept"
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
        "$(($(load_kib) * 1024)) are written"
}

# Tell whether the daemon ended while it loaded; it may be back already.
went_away() {
    case $output in
        # An answer, perhaps of an archive that ends too early.
        *'Error response'* | *'Error processing'* | *'Error loading'*) ;;
        *'Cannot connect'* | *'error during connect'* | *'connection refused'*) return 0 ;;
        *EOF*)
            # That of the connection, or of an archive.
            ! ask_runtime 10 || prove_archive 2>/dev/null
            return
            ;;
    esac
    ! ask_runtime 10
}

# load_failed STATUS MESSAGE
load_failed() {
    rm -f -- "$records/.$stem.loading"
    load_failure=$1
    shift
    fail "$load_failure" "$name: $*"
}

# Load the image where it is not there. Where it is made of layers in doubt, prove it; load it once more without them, if it
# is damaged.
load_whole() {
    repaired=no refused=no
    while :; do
        outcome=0
        [ "$state" = loaded ] || load_archive || outcome=$?
        # What an earlier load has left can be the reason, where it is not the archive.
        if [ "$outcome:$refused:$repaired" = "$FAILED:yes:no" ] && [ -n "$before$leases" ] && prove_archive 2>/dev/null; then
            warn "$name: trying once more, without what was left by loads before this boot"
            repaired=yes
            "${keeper}_clear"
            continue
        fi
        [ "$outcome" -eq 0 ] || return "$outcome"
        examine_image
        outcome=$?
        case $outcome in
            "$DAMAGED") ;;
            "$UNKNOWN")
                # It serves, but is not recorded, and its archive stays.
                proved=no
                warn "$name: is there, but layers of it are not recorded, may be older than this boot, and can't be checked" \
                    "(is ctr there, and DOCKIN_CONTAINERD_ROOT right?); it is taken as it is ($found_id)"
                return 0
                ;;
            *) return "$outcome" ;;
        esac
        if [ "$repaired" = yes ]; then
            fail "$FAILED" "$name: has damaged files also after a new load: other images share them; remove those that" \
                "came before the last power cut, and start the unit again; the archive is kept"
            return
        fi
        warn "$name: has damaged files ($found_id)"
        prove_archive || return
        # Its own layers make room. In containerd they can go before that is asked, as it makes them anew, if need be.
        [ "$keeper" = ctr ] ||
            check_space "a new load" "$(kib "$unpacked_size")" "$(kib "$layers_size")" || return
        if ! "${keeper}_repair"; then
            fail "$FAILED" "$name: has files that a power cut has damaged ($found_id), but is kept for $users; remove" \
                "those and start the unit again; the archive is kept"
            return
        fi
        repaired=yes
        find_listed_image
        state=missing
    done
}

# What must not be done by two at once: load what is missing, and record what is loaded.
load_and_record() {
    # Another process may have loaded it while this one waited for the lock.
    find_listed_image
    if [ "$state:$broken" = loaded:no ] && is_recorded; then
        say "$name: is loaded and recorded already ($found_id)"
        return
    fi
    brought=no again=no
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
    [ "$keeper" = cli ] || [ -z "$layers" ] || [ -z "$before" ] ||
        run_ctr content label "$ctr_config" "containerd.io/gc.ref.snapshot.$driver=$ctr_top" >/dev/null
    if ! { sync_images && write_brought && write_record; }; then
        fail "$FAILED" "$name: loaded, but $records/$stem could not be written to the disk: see the" \
            "messages of the kernel and of $label$(archive_stays)"
    fi
}
