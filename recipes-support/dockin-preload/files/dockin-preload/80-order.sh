# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
#
# The order of several loads.
#
# What a load needs only while it runs is the unpacked archive, and an archive that is flushed makes room: the larger
# both, the earlier, and the least space is needed in all. Before those come the loads after which more is free than
# before, as the archive is larger than the layers, the smallest need first (lib/dockin/space.py). Each process notes itself in
# a queue before it asks for the lock. Its note is a file that it holds a lock on: when it ends, however that comes, its turn
# is over. A process that gets the load lock while another one comes first gives it back and waits for that one's end.

# Print the image's place in the order: more is earlier.
priority() {
    weight=$unpacked_size
    if [ "$flush" = yes ] && [ "$archive_size" -gt "$layers_size" ]; then
        weight=$((9000000000000000 - unpacked_size - layers_size))
    elif [ "$flush" = yes ]; then
        weight=$((unpacked_size + archive_size))
    fi
    printf '%s' "$weight"
}

# Where there is no flock or no directory, there is no order.
enqueue() {
    command -v flock >/dev/null && mkdir -p -- "$run_dir/queue" 2>/dev/null || return 0
    # Others take a note without a lock for a dead one's, so it gets its name when it has the lock.
    (: >"$run_dir/queue/.$$") 2>/dev/null || return 0
    exec 8>"$run_dir/queue/.$$"
    # So that the shell lists them in order.
    queued=$run_dir/queue/$(printf '%016d' "$((9999999999999999 - $(priority)))")-$$
    flock 8
    mv -f -- "$run_dir/queue/.$$" "$queued"
}

dequeue() {
    [ -n "$queued" ] || return 0
    rm -f -- "$queued"
    exec 8>&-
    queued=''
}

# lock_note NOTE [-n]: wait for the end of a note's process, or with -n tell whether it has ended.
lock_note() (
    exec 2>/dev/null 7<"$1"
    shift
    flock "$@" 7
)

# Print the note of the process that comes first of all that wait, if that is not this one.
first_in_queue() {
    set +f
    set -- "$run_dir"/queue/*
    set -f
    for note; do
        [ "$note" != "$queued" ] || return
        # A note that can be locked is a dead one's. Where there is none, not even its own, somebody removed them.
        if [ -e "$note" ] && ! lock_note "$note" -n; then
            printf '%s' "$note"
            return
        fi
        rm -f -- "$note"
    done
}

# Get the load lock when it is this process's turn.
take_turn() {
    unwatch
    while :; do
        lock || return
        ahead=''
        [ -z "$queued" ] || ahead=$(first_in_queue)
        [ -n "$ahead" ] || break
        unlock
        # Without an order where a note can't be waited for.
        lock_note "$ahead" || ! [ -e "$ahead" ] || dequeue
    done
    watch
}

# Print the numbers of the files in the order in which they are to be loaded; those that can't be read come first.
load_order() {
    if [ $# -eq 1 ] || ! command -v sort >/dev/null; then
        number=0
        for _; do
            number=$((number + 1))
            printf '%s\n' "$number"
        done
        return
    fi
    number=0
    for file; do
        number=$((number + 1))
        if read_info "$file" 2>/dev/null; then
            printf '%s %s\n' "$(priority)" "$number"
        else
            printf '9999999999999999 %s\n' "$number"
        fi
    done | sort -k 1,1nr -k 2,2n | while read -r _ number; do
        printf '%s\n' "$number"
    done
}
