# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
#
# The start: check the settings and run the command.

# The runtime that root, records and so on are of.
asked_runtime=''
watcher=''
for setting in WAIT:$wait_seconds LIMIT:$limit_seconds PROGRESS:$progress_seconds; do
    if ! is_size "${setting#*:}"; then
        fail "$USAGE" "DOCKIN_PRELOAD_${setting%%:*} is '$(printable "${setting#*:}")': it must be a number of seconds"
        exit "$USAGE"
    fi
done
case ${1:-} in
    load)
        shift
        command_load "$@"
        ;;
    status)
        shift
        command_status "$@"
        ;;
    -h | --help)
        usage
        ;;
    '')
        usage >&2
        exit "$USAGE"
        ;;
    *)
        fail "$USAGE" "unknown command '$(printable "$1")': it is load or status; see $PROGRAM --help"
        ;;
esac
