# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
#
# Docker and Podman: the queries and commands of the runtime interface (see 30-runtimes.sh).

# Part of a template: the kind of the storage driver, empty for the classic store.
readonly DRIVER_TYPE='{{range .DriverStatus}}{{if eq (index . 0) "driver-type"}}{{index . 1}}{{end}}{{end}}'

docker_ask() {
    docker_info=$(bounded "$1" docker info --format "$DRIVER_TYPE|{{.Driver}}|{{.DockerRootDir}}" 2>/dev/null) || return 1
    root=${docker_info#*|}
    driver=${root%%|*}
    root=${root#*|}
    images_root=$root store=$root/$driver
    case ${docker_info%%|*} in
        io.containerd.snapshotter.*) ;;
        *) return 0 ;;
    esac
    ctr_namespace=moby
    # A containerd that Docker starts keeps its data in Docker's; one that systemd starts has its own place.
    if [ -d "$root/containerd/daemon/io.containerd.metadata.v1.bolt" ]; then
        ctr_address=/run/docker/containerd/containerd.sock
        containerd_keeps "$root/containerd/daemon"
    else
        foreign_store=yes
        ctr_address=/run/containerd/containerd.sock
        containerd_keeps "$containerd_root"
        [ -d "$containerd_root" ] || images_root=$root
    fi
    ctr_address=${CONTAINERD_ADDRESS:-$ctr_address}
}

podman_ask() {
    root=$(bounded "$1" podman info --format '{{.Store.GraphDriverName}}|{{.Store.GraphRoot}}' 2>/dev/null)
    driver=${root%%|*}
    root=${root#*|}
    images_root=$root store=$root/$driver
}

# with_prefix ID: print an ID of Docker's or Podman's (which leaves it out) with its sha256:.
with_prefix() {
    [ -z "$1" ] || printf 'sha256:%s' "${1#sha256:}"
}

# shellcheck disable=SC2016  # variables of the template
readonly LOOK='{{.Id}} {{with .GraphDriver}}{{range $key, $value := .Data}}{{if or (eq $key "LowerDir") (eq $key "UpperDir")}}'\
'{{$value}}:{{end}}{{end}}{{end}}'

# NAME_OR_ID: print the ID of an image, nothing if there is none or it is so damaged that it can't be inspected.
cli_id() {
    with_prefix "$("$command" image inspect --format '{{.Id}}' -- "$1" 2>/dev/null)"
}

# NAME: print the ID of an image and, as far as the runtime tells them, the directories of its layers, the top one last, each
# with a colon behind it. Of containerd's Docker tells none, and since 29 takes it for an error to ask.
cli_look() {
    look=$LOOK
    [ "$keeper" = cli ] || look='{{.Id}}'
    with_prefix "$("$command" image inspect --format "$look" -- "$1" 2>/dev/null)"
}

# NAME: print the ID of an image, also of one that can't be inspected.
cli_listed_id() {
    with_prefix "$("$command" image ls --quiet --no-trunc -- "$1" 2>/dev/null | sed -n 1p)"
}

# ID: print the names of an image, each on a line.
cli_names() {
    "$command" image inspect --format '{{range .RepoTags}}{{.}}
{{end}}' -- "$1" 2>/dev/null
}

# ID NAME: print the containers, also stopped ones, that use an image.
cli_users() {
    # shellcheck disable=SC2046  # IDs have no spaces
    set -- "$1" $("$command" ps --all --quiet --no-trunc 2>/dev/null)
    cli_wanted=$1
    shift
    [ $# -ne 0 ] || return 0
    "$command" inspect --format '{{.Image}} {{.Name}}' "$@" 2>/dev/null | while read -r cli_image cli_user; do
        if [ "$(with_prefix "$cli_image")" = "$cli_wanted" ]; then
            printf '%s\n' "${cli_user#/}"
        fi
    done
}

# FILE: load an archive.
cli_load() {
    "$command" load --quiet --input "$1"
}

# NAME_OR_ID: remove a name or, by ID, an image without one; the image goes with its last name.
cli_remove() {
    "$command" image rm -- "$1"
}

# ID OLD-NAME NEW-NAME: give an image a name, which another may have.
cli_tag() {
    "$command" tag "$1" "$3"
}
