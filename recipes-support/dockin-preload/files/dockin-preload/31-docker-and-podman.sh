# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
#
# Docker and Podman: the queries and commands of the runtime interface (see 30-runtimes.sh).

# Part of a template: the kind of the storage driver, empty for the classic store.
readonly DRIVER_TYPE='{{range .DriverStatus}}{{if eq (index . 0) "driver-type"}}{{index . 1}}{{end}}{{end}}'

docker_ask() {
    cli_ask "$1" "$DRIVER_TYPE|{{.Driver}}|{{.DockerRootDir}}" || return
    case $driver_type in
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
    cli_ask "$1" '|{{.Store.GraphDriverName}}|{{.Store.GraphRoot}}'
}

# cli_ask SECONDS TEMPLATE
cli_ask() {
    answer=$(bounded "$1" "$command" info --format "$2" 2>/dev/null) || return
    IFS='|' read -r driver_type driver root <<END
$answer
END
    images_root=$root store=$root/$driver
}

# shellcheck disable=SC2016  # variables of the template
readonly LOOK='{{.Id}} {{with .GraphDriver}}{{range $key, $value := .Data}}{{if or (eq $key "LowerDir") (eq $key "UpperDir")}}'\
'{{$value}}:{{end}}{{end}}{{end}}'

# NAME_OR_ID: print the ID of an image, nothing if there is none or it is so damaged that it can't be inspected; and, as far
# as the runtime tells them, the directories of its layers, the top one last, each with a colon behind it. Of containerd's
# Docker tells none, and since 29 takes it for an error to ask.
cli_look() {
    look=$LOOK
    [ "$keeper" = cli ] || look='{{.Id}}'
    # Podman leaves sha256: out.
    look=$("$command" image inspect --format "$look" -- "$1" 2>/dev/null) && printf 'sha256:%s' "${look#sha256:}"
}

# ID: print the names of an image, each on a line.
cli_names() {
    "$command" image inspect --format '{{range .RepoTags}}{{.}}
{{end}}' -- "$1" 2>/dev/null
}

# ID: print the containers, also stopped ones, that use an image.
cli_users() {
    "$command" ps --all --quiet --no-trunc 2>/dev/null | while read -r cli_user; do
        "$command" inspect --format '{{.Image}} {{.Name}}' "$cli_user" 2>/dev/null </dev/null
    done | sed -n "s/^\(sha256:\)*${1#sha256:} \/*//p"
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
