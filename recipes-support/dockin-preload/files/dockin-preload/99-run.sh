# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
#
# The start: check the settings and run the command.

# The runtime that root, records and so on are of.
asked_runtime=''
watcher=''
for setting in WAIT:$wait_seconds LIMIT:$limit_seconds PROGRESS:$progress_seconds; do
    is_size "${setting#*:}" || fail "$USAGE" "DOCKIN_PRELOAD_${setting%%:*} is '$(printable "${setting#*:}")': it must be" \
        "a number of seconds" || exit
done
case ${1:-} in
    load | status)
        verb=$1
        shift
        ;;
    -h | --help)
        usage
        exit
        ;;
    '')
        usage >&2
        exit "$USAGE"
        ;;
    *)
        fail "$USAGE" "unknown command '$(printable "$1")': it is load or status; see $PROGRAM --help"
        exit
        ;;
esac
flush=no prune=no keep_previous=no form=text
while [ $# -gt 0 ]; do
    case $verb:$1 in
        load:--flush) flush=yes ;;
        load:--keep) flush=no ;;
        load:--prune) prune=yes ;;
        load:--keep-previous) keep_previous=yes ;;
        status:--json) form=json ;;
        *:--) shift && break ;;
        *:-*) fail "$USAGE" "unknown option '$(printable "$1")' of $verb: see $PROGRAM --help" || exit ;;
        *) break ;;
    esac
    shift
done
"command_$verb" "$@"
