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
    before='' noted=''
    place="$boot_id $(stat -c %d.%i -- "$store" 2>/dev/null) $store"
    { read -r noted && read -r before; } 2>/dev/null <"$run_dir/$runtime.layers"
    [ "$noted" != "$place" ] || return 0
    "${keeper}_present"
    # With ctr it may be known later.
    [ "$before" != unknown ] && mkdir -p -- "$run_dir" 2>/dev/null &&
        (printf '%s\n' "$place" "$before" >"$run_dir/.$runtime.new") 2>/dev/null &&
        mv -f -- "$run_dir/.$runtime.new" "$run_dir/$runtime.layers"
}

# Set before to all layers that there are, but not the directory of their short names.
cli_present() {
    before=$(set +f && cd -- "$store" 2>/dev/null && printf '%s\n' * | sed '/^[l*]$/d' | tr '\n' ' ')
}

ctr_present() {
    # No answer is another thing than nothing.
    before=unknown
    snapshots=$(ctr_snapshots) && before=$(ctr_before)
}

# No snapshot was made yet where there is no list of them.
none_present() {
    before=''
    ! [ -d "$store" ] || ! [ -e "${store%/*}/metadata.db" ] || before=unknown
}

# Print the layers among $snapshots that were there before: all of them, where that is unknown.
ctr_before() {
    printf '%s\n' "$snapshots" | while read -r key _ kind; do
        [ "$kind" = Committed ] && { [ "$before" = unknown ] || has "$before" "$key"; } && printf '%s ' "$key"
    done
}

# Print the layers that the records and the notes of brought images have.
recorded_layers() (
    set +f
    set -- "$records"/* "$records"/.*.brought ${written:+"$written"/*}
    sed -n -e 's/^layers=//p' -e 's/^sha256:[0-9a-f]* //p' "$@" 2>/dev/null | tr '\n' ' '
)

# Set layers, and doubtful to those in doubt; fail if they can't be learnt, as without ctr.
find_doubtful() {
    layers='' doubtful=''
    [ "$keeper" != none ] && "${keeper}_layers" || return
    known=$(recorded_layers)
    for layer in $layers; do
        case $before:$layer in
            unknown:* | *:*.missing) ;;
            *) has "$before" "${layer%%.*}" || continue ;;
        esac
        has "$known" "$layer" || doubtful="$doubtful $layer"
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

# As cli_layers, from the directories that containerd would mount, which layer_dirs is set to, each with a colon behind it.
ctr_layers() {
    layers='' layer_dirs=''
    ctr_describe "$found_id" || return
    [ -n "$ctr_keys" ] || return 0
    # A process that was killed here may have left the view.
    run_snapshots rm "$PROGRAM"
    if ! mounts=$(run_snapshots view --target / "$PROGRAM" "$ctr_top"); then
        layers=$ctr_top.missing
        return
    fi
    run_snapshots rm "$PROGRAM"
    # mount -t overlay overlay / -o …,lowerdir=…/3/fs:…/2/fs:…/1/fs, and of one layer: mount -t bind …/1/fs / -o …
    # The snapshotter erofs has no directories.
    case $mounts in
        *'-t overlay '*lowerdir=*) list=${mounts#*lowerdir=} list=${list%%,*}: ;;
        *'-t bind '*) list=/${mounts#*/} list=${list%% / -o *}: ;;
        *) return 1 ;;
    esac
    # Upside down.
    for key in $ctr_keys; do
        layer_dir=${list%:}
        layer_dir=${layer_dir##*:} list=${list%"$layer_dir:"}
        [ -n "$layer_dir" ] || return
        layer=$(stat -c %i.%Z -- "$layer_dir" 2>/dev/null) || layer=missing
        layers="${layers:+$layers }$key.$layer" layer_dirs="$layer_dirs$layer_dir:"
    done
}
