# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
#
# Messages, time limits and small helpers that every part uses.

usage() {
    cat <<END
usage: $PROGRAM load [--flush|--keep] [--prune] [--keep-previous] INFO...
       $PROGRAM status [--json] [INFO...]

load    make Docker (or Podman, or containerd: as INFO says) have the images that the image information files
        INFO describe: load what is missing, or is another image under that name
        --flush          remove an archive once its image is on the disk and recorded
        --keep           keep the archives (the default)
        --prune          remove the images that this program had loaded under the name before, where nothing uses them
        --keep-previous  keep the one before the current one, for a rollback
status  list the images, by default those of $archive_dir: name, state, whether the archive is there, whether
        the image is recorded
        --json           the same and more for programs

state   loaded, missing, other (another image has the name), doubtful (there, but not recorded as whole),
        unknown (no answer from Docker), invalid (the information file)

environment
        DOCKIN_PRELOAD_WAIT     seconds to wait for Docker before a load (60)
        DOCKIN_PRELOAD_LIMIT    seconds that the load of one image may take, without its wait for those before it (7200)
        DOCKIN_PRELOAD_PROGRESS seconds from one line of progress to the next (30)
        DOCKIN_PRELOAD_RUN      directory of what is known of this boot ($run_dir)
        DOCKIN_ARCHIVEDIR       where status looks ($archive_dir)
        DOCKIN_CONTAINERD_ROOT  where a containerd that Docker did not start keeps its images ($containerd_root)
        DOCKIN_IMAGE_STORE      Podman's additional image store, if a build made one ($image_store)
        CONTAINERD_ADDRESS, CONTAINERD_NAMESPACE   as ctr has them

exit    0  every image is loaded                                     4  Docker does not answer
        1  an image is not loaded, or several failed differently     5  too little space for an image
        2  usage                                                     6  an image and its archive are gone
        3  an information file is invalid
END
}

say() {
    printf '%s\n' "$*"
}

warn() {
    printf '%s%s: %s\n' "$warning_mark" "$PROGRAM" "$*" >&2
}

# fail STATUS MESSAGE: print the error and return STATUS. `check || fail … || return` ends a function with that status.
fail() {
    fail_status=$1
    shift
    last_error=$*
    printf '%s%s: %s\n' "$error_mark" "$PROGRAM" "$*" >&2
    return "$fail_status"
}

# Print a text that somebody else wrote so that it can do no harm to a terminal or a log.
printable() {
    printf '%.300s' "$1" | tr '\000-\037\177-\377' '?'
}

# Print the seconds since the machine started: the clock may jump while a first boot sets it.
uptime_seconds() {
    read -r uptime _ </proc/uptime
    printf '%s' "${uptime%%.*}"
}

# timer SECONDS COMMAND...: run a command every so many seconds, until it fails or this program ends; set $timer to its process,
# which does not hold the lock.
timer() {
    (
        period=$1 ticks=0
        shift
        while sleep 1 >/dev/null 2>&1 && kill -0 "$$" 2>/dev/null; do
            ticks=$((ticks + 1))
            [ "$ticks" -ge "$period" ] || continue
            ticks=0
            "$@" || exit
        done
    ) 9>&- &
    timer=$!
}

stop_timer() {
    kill -KILL "$1" 2>/dev/null
    wait "$1" 2>/dev/null
}

# Give the work on an image $limit_seconds from now; unwatch ends that.
watch() {
    timer "$limit_seconds" give_up
    watcher=$timer
}

unwatch() {
    [ -z "$watcher" ] || stop_timer "$watcher"
    watcher=''
}

give_up() {
    fail "$FAILED" "$name: not done after $limit_seconds s (DOCKIN_PRELOAD_LIMIT); given up$(archive_stays)"
    note_error "$FAILED"
    kill -KILL "$$"
}

# bounded SECONDS COMMAND...: run a command, end it when it takes longer.
bounded() {
    bounded_seconds=$1
    shift
    "$@" &
    bounded_job=$!
    timer "$bounded_seconds" kill "$bounded_job" >/dev/null 2>&1
    wait "$bounded_job"
    bounded_status=$?
    stop_timer "$timer"
    return "$bounded_status"
}

# mib KIB: print them as MiB, rounded up.
mib() {
    printf '%s MiB' "$((($1 + 1023) / 1024))"
}

# has LIST WORD: tell whether a word is in a list.
has() {
    case " $1 " in
        *" $2 "*) return 0 ;;
    esac
    return 1
}

# own_directory DIRECTORY: fail if there is a link: root would write where it leads.
own_directory() {
    ! [ -h "$1" ] || fail "$FAILED" "$name: $1 is a link, which is not followed: remove it$(archive_stays)"
}
