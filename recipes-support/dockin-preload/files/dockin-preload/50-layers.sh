# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
#
# Whole or not.
#
# Runtimes write their own notes to the disk at once, and the files of layers not. A power cut after a load or pull, this
# program's or anybody's, finished or not, can leave layers with empty or short files, or none, and every later load takes
# them for whole. What was made in this boot can't be torn: the sync before the record writes it. So a layer is in doubt if
# it was there before this boot's first load, and no record has it. A layer's name here begins with what the runtime calls it,
# and ends, after a dot, with what is another when it is made anew.

# Set before to the layers that were there before this boot's first load, or to unknown. Called before a load, and with the
# lock.
note_layers() {
    before='' leases='' noted=''
    place="$boot_id $(stat -c %d.%i -- "$store" 2>/dev/null) $store"
    { read -r noted && read -r before && read -r leases; } 2>/dev/null <"$run_dir/$runtime.layers"
    [ "$noted" != "$place" ] || return 0
    "${keeper}_present"
    # With ctr it may be known later.
    [ "$before" = unknown ] || keep_layers
}

keep_layers() {
    mkdir -p -- "$run_dir" 2>/dev/null &&
        (printf '%s\n' "$place" "$before" "$leases" >"$run_dir/.$runtime.new") 2>/dev/null &&
        mv -f -- "$run_dir/.$runtime.new" "$run_dir/$runtime.layers"
}

# Set before to all layers that there are.
cli_present() {
    before='' leases=''
    set +f
    set -- "$store"/*
    set -f
    for layer_dir; do
        case ${layer_dir##*/} in
            '*' | l) ;; # nothing; short names
            *) before="$before ${layer_dir##*/}" ;;
        esac
    done
}

# Set leases, too: what containerd keeps for loads and pulls that run, for a day if they never end.
ctr_present() {
    before='' leases=''
    if ! command -v ctr >/dev/null; then
        # No snapshot was made yet where there is no list of them.
        ! [ -d "$store" ] || [ -e "${store%/*}/metadata.db" ] && before=unknown
        return 0
    fi
    # No answer is another thing than nothing.
    before=unknown
    snapshots=$(ctr_snapshots) || return
    before=$(ctr_before)
    leases=$(run_ctr leases ls | sed 1d | while read -r lease _ labels; do
        case $labels in
            *containerd.io/gc.expire=*) printf '%s ' "$lease" ;;
        esac
    done)
}

# Print the layers among $snapshots that were there before: all of them, where that is unknown.
ctr_before() {
    printf '%s\n' "$snapshots" | while read -r key _ kind; do
        case " $before ":$kind in
            *" $key "*:Committed | ' unknown ':Committed) printf '%s ' "$key" ;;
        esac
    done
}

# Print the layers that the records and the notes of brought images have.
recorded_layers() {
    set +f
    set -- "$records"/* "$records"/.*.brought
    set -f
    sed -n -e 's/^layers=//p' -e 's/^sha256:[0-9a-f]* //p' "$@" 2>/dev/null | tr '\n' ' '
}

# Set layers, and doubtful to those in doubt; fail if they can't be learnt.
find_doubtful() {
    doubtful=''
    "${keeper}_layers" || return
    known=" $(recorded_layers) "
    for layer in $layers; do
        case " $before ":$layer in
            *:*.missing | *" ${layer%%.*} "*:* | ' unknown ':*) ;;
            *) continue ;;
        esac
        case $known in
            *" $layer "*) ;;
            *) doubtful="$doubtful $layer" ;;
        esac
    done
}

# Set layers to the names of the image's layers, the top one last; fail if they can't be learnt.
cli_layers() {
    layers='' list=$found_dirs
    while [ -n "$list" ]; do
        layer_dir=${list%%:*} list=${list#*:}
        layer_dir=${layer_dir%/diff}
        # What Podman says of an image without layers.
        [ "$layer_dir" != "$store" ] || continue
        layer=${layer_dir##*/}
        # Podman names a layer by its content; the short name, without a newline, is random.
        link=''
        read -r link <"$layer_dir/link"
        if [ -z "$link" ]; then
            layer=$layer.missing
        elif [ "$runtime" = podman ]; then
            layer=$layer.$link
        fi
        layers="${layers:+$layers }$layer"
    done 2>/dev/null
    [ -n "$layers" ]
}

# As cli_layers, from the directories that containerd would mount.
ctr_layers() {
    layers='' layer_dirs=''
    case $store in
        *[[:space:]]*) return 1 ;;
    esac
    command -v ctr >/dev/null && ctr_describe "$found_id" || return 1
    [ -n "$ctr_keys" ] || return 0
    # A process that was killed here may have left the view.
    if ! mounts=$(ctr_view) && { run_ctr snapshots --snapshotter "$driver" rm "$PROGRAM"; ! mounts=$(ctr_view); }; then
        layers=$ctr_top.missing
        return
    fi
    # Nothing refers to it, so containerd may have dropped it already.
    run_ctr snapshots --snapshotter "$driver" rm "$PROGRAM"
    # mount -t overlay overlay / -o …,lowerdir=…/3/fs:…/2/fs:…/1/fs, and of one layer: mount -t bind …/1/fs / -o …
    # The snapshotter erofs has no directories.
    case $mounts in
        *'-t overlay '*lowerdir=*) list=${mounts#*lowerdir=} list=${list%%,*}: ;;
        *'-t bind '*) list=/${mounts#*/} list=${list%% *}: ;;
        *) return 1 ;;
    esac
    # Upside down.
    for key in $ctr_keys; do
        layer_dir=${list%:}
        layer_dir=${layer_dir##*:} list=${list%"$layer_dir:"}
        [ -n "$layer_dir" ] || return
        layer=$(stat -c %i.%Z -- "$layer_dir" 2>/dev/null) || layer=missing
        layers="${layers:+$layers }$key.$layer" layer_dirs="$layer_dirs$layer_dir "
    done
}

ctr_view() {
    run_ctr snapshots --snapshotter "$driver" view --target / "$PROGRAM" "$ctr_top"
}
