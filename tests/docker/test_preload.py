# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""The target's command dockin-preload against real Docker daemons, run by the shells that targets have (support.target)."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import re
import signal
import socket
import time

import pytest

from dockin.image import archive
from support import docker, helper, images, layers
from support.installed import Shelf
from support.target import (BAD_INFO, FAILED, MIB, NO_ARCHIVE, NO_DOCKER, NO_SPACE, OK, USAGE, Target, filler,
                            wait_for)

# The stores differ for the command, the classic one's age does not.
DAEMONS = (docker.OLDER_CLASSIC, docker.CONTAINERD)

# For cases that are about the command alone.
one_daemon = pytest.mark.parametrize("daemon", DAEMONS[:1], ids=str, indirect=True)


@pytest.fixture(params=["busybox", "dash"])
def both_shells(daemon, request):
    """The command in each shell, where a case is about the shell and not about Docker."""
    return Target(daemon, request.param)


def test_words_of_an_image_do_not_tell_why_a_load_fails(shelf, preload):
    """Docker quotes the names of files; a layer in which one is wrong is a failure, whatever its name is."""
    name = "no space left on device"
    wrong = images.Layer(layers.tar((name, {}, b"1"), (f"{name}/x", {}, b"2")), "none")
    installed = shelf.install(shelf.image(extra=[wrong]))
    assert "failed: " in preload("load", installed.info, status=FAILED)


def test_first_load_then_nothing_to_do(shelf, preload):
    installed = shelf.install(shelf.image(), compression="xz")
    output = preload("load", "--keep", installed.info)
    assert f"{installed.name}: loaded in " in output
    assert f"{installed.information.archive_size} bytes" in output
    assert f"{installed.information.unpacked_size} bytes" in output
    assert shelf.daemon.run_image(installed.name) == shelf.output()
    assert preload.exists(preload.record(installed))
    assert installed.archive.exists()
    # The archive is not read again: one that nobody could load makes no difference.
    installed.archive.write_bytes(b"no archive")
    assert preload("load", installed.info) == f"{installed.name}: is loaded and recorded, nothing to do\n"


def without_layers(label, layers):
    """Return an image of no layers, whose documents have no lists of them, or empty ones, as Go writes them."""
    made = images.image([], labels={"number": label})
    rootfs = {} if layers == "gone" else {"type": "layers", "diff_ids": layers}
    config = {**json.loads(made.config.data), "rootfs": rootfs}
    blob = images.Blob(made.config.media_type, images.to_json(config))
    content = {**json.loads(made.data), "config": blob.descriptor(), "layers": layers}
    if layers == "gone":
        del content["layers"]
    return images.Manifest(made.media_type, images.to_json(content), blob, (), made.platform)


@pytest.mark.parametrize(
    ("layers", "mode"), [([], archive.DECOMPRESSED), (None, archive.REGISTRY), ("gone", archive.DECOMPRESSED)])
def test_image_without_layers(shelf, preload, layers, mode):
    # So that there are layers from before.
    preload("load", shelf.install(shelf.image(), shelf.name("other")).info)
    installed = shelf.install(without_layers(f"{shelf.number}", layers), layers=mode)
    output = preload("load", installed.info)
    assert "loaded in" in output and "damaged" not in output
    assert "recorded, nothing to do" in preload("load", installed.info)


@pytest.mark.parametrize("place", ["label", "command", "history"])
def test_diff_ids_in_other_places_of_a_config(shelf, preload, place):
    """In strings, as in what is written by hand. Other arrays of that name are refused when the image is built."""
    text = json.dumps({"rootfs": {"type": "layers", "diff_ids": [images.sha256(b"")]}, "diff_ids": []})
    own = shelf.image()
    config = json.loads(own.config.data)
    if place == "history":
        config["history"][0]["created_by"] = f'LABEL x={text}","diff_ids":["y"]'
    else:
        config["config"].update({"Labels": {text: text}} if place == "label" else {"Env": [f"X={text}"]})
    blob = images.Blob(own.config.media_type, images.to_json(config))
    installed = shelf.install(images.manifest(blob, own.layers, own.platform))
    assert "damaged" not in preload("load", installed.info)
    if preload.daemon.kind.store == "containerd":
        record = preload.daemon.run(["cat", str(preload.record(installed))]).stdout
        [line] = [line for line in record.splitlines() if line.startswith("layers=")]
        chain = line.partition("=")[2].split()
        diff_ids = config["rootfs"]["diff_ids"]
        top = images.sha256(f"{diff_ids[0]} {diff_ids[1]}".encode())
        assert [layer.partition(".")[0] for layer in chain] == [diff_ids[0], top]


def test_new_digest_under_the_same_tag_is_loaded(shelf, preload):
    preload("load", shelf.install(shelf.image("old")).info)
    new = shelf.install(shelf.image("new"))
    assert "is another image now" in preload("load", new.info)
    assert shelf.daemon.run_image(new.name) == shelf.output("new")
    assert "nothing to do" in preload("load", new.info)


def test_vanished_image_is_loaded_again(shelf, preload):
    installed = shelf.install(shelf.image())
    preload("load", installed.info)
    shelf.daemon.docker("image", "rm", installed.name)
    assert "loaded in" in preload("load", installed.info)
    assert shelf.daemon.run_image(installed.name) == shelf.output()


def test_tag_moved_by_hand_is_moved_back(shelf, preload):
    installed = shelf.install(shelf.image())
    other = shelf.install(shelf.image("other"), shelf.name("other"))
    preload("load", installed.info, other.info)
    shelf.daemon.docker("tag", other.name, installed.name)
    preload("load", installed.info)
    assert shelf.daemon.run_image(installed.name) == shelf.output()


def test_flush_removes_the_archive_and_a_later_boot_is_content(shelf, preload):
    installed = shelf.install(shelf.image())
    assert f"flushed the archive, {installed.information.archive_size} bytes" in preload(
        "load", "--flush", installed.info)
    assert not installed.archive.exists()
    assert installed.info.exists()
    assert "nothing to do" in preload("load", "--flush", installed.info)


def test_flushed_and_vanished_is_an_error_that_names_image_and_remedy(shelf, preload):
    installed = shelf.install(shelf.image())
    preload("load", "--flush", installed.info)
    shelf.daemon.docker("image", "rm", installed.name)
    output = preload("load", "--flush", installed.info, status=NO_ARCHIVE)
    assert f"{installed.name}: Docker does not have the image" in output
    assert str(installed.archive) in output
    assert "install the image's package again" in output


@pytest.mark.parametrize("lost", ["record", "archive"])
def test_power_cut_between_load_and_flush(shelf, preload, lost):
    """Loaded, not recorded or not flushed: the next boot does the rest, without a load."""
    installed = shelf.install(shelf.image())
    preload("load", "--keep", installed.info)
    if lost == "record":
        shelf.daemon.run(["rm", str(preload.record(installed))])
    output = preload("load", "--flush", installed.info)
    assert "loaded in" not in output
    assert "flushed" in output
    assert preload.exists(preload.record(installed))
    assert not installed.archive.exists()


def test_read_only_archive_is_kept_without_an_error(shelf, preload):
    installed = shelf.install(shelf.image())
    folder = str(shelf.directory)
    shelf.daemon.run(["mount", "--bind", folder, folder])
    shelf.daemon.run(["mount", "-o", "remount,bind,ro", folder])
    try:
        assert "the archive stays" in preload("load", "--flush", installed.info)
        assert "the archive stays" in preload("load", "--flush", installed.info)
        assert installed.archive.exists()
        assert shelf.daemon.run_image(installed.name) == shelf.output()
    finally:
        shelf.daemon.run(["umount", folder])


def test_order_on_the_disk(shelf, daemon):
    """Marker, load, verify, sync, record, sync, flush: told by the programs that do them, which do their real work."""
    target = Target(daemon, "dash")
    installed = shelf.install(shelf.image())
    log = shelf.directory / "calls"
    for name in ("docker", "sync", "mv", "rm"):
        first = target.script(name, f'echo {name} "$@" >>{log}\nexec {target.directory}/bin/{name} "$@"', "spies")
    target("load", "--flush", installed.info, first=first)
    calls = [line.split() for line in log.read_text().splitlines()]
    steps = [call[0] if call[0] != "docker" else f"docker {call[1]}" for call in calls]
    load = steps.index("docker load")
    record = target.record(installed)
    marker, brought = (str(record.with_name(f".{record.name}.{suffix}")) for suffix in ("loading", "brought"))
    last = {"mv": -1, "rm": -1}

    def changes(some):
        return [f"{call[0]} {call[last[call[0]]]}" if call[0] in last else "sync" for call in some
                if call[0] in ("sync", *last) and not call[-1].startswith("/run/")]

    assert changes(calls[:load]) == ["sync", f"mv {marker}"]
    assert steps[load:][:2] == ["docker load", "docker image"]
    # The image; contents of the notes, their names; and only then the marker and the archive go.
    assert changes(calls[load:]) == [
        "sync", "sync", f"mv {brought}", "sync", f"mv {record}", "sync", f"rm {marker}", f"rm {installed.archive}"]


def test_io_error_of_sync_is_no_success(shelf, daemon):
    """A file system that can't write the image down: not recorded, not flushed."""
    target = Target(daemon, "dash")
    installed = shelf.install(shelf.image())
    # Only an injected fault can give this: sync -f works, but no more for the data-root.
    flag = shelf.directory / "broken"
    target.script("docker", f'[ "$1" != load ] || : >{flag}\nexec {target.directory}/bin/docker "$@"', "broken-sync")
    first = target.script("sync", f'case $*:$2 in *:/) exit 0 ;; -f*) ! [ -e {flag} ] ;; esac', "broken-sync")
    output = target("load", "--flush", installed.info, status=FAILED, first=first)
    assert "could not be written to the disk" in output
    assert installed.archive.exists()
    assert not target.exists(target.record(installed))
    target("load", "--flush", installed.info)
    assert not installed.archive.exists()


def test_sync_without_options(shelf, daemon):
    """One that refuses -f, unlike those that ignore it: everything is synced instead."""
    target = Target(daemon, "dash")
    installed = shelf.install(shelf.image())
    log = shelf.directory / "syncs"
    first = target.script("sync", f'case $1 in -*) exit 1 ;; esac; echo "$#" >>{log}; exec /bin/busybox sync', "old-sync")
    target("load", "--flush", installed.info, first=first)
    assert "0" in log.read_text().split()
    assert not installed.archive.exists()


def test_space_is_checked_before_the_load(shelf, preload):
    """What is just enough by the check is enough for Docker; a little less is refused, with the numbers."""
    installed = shelf.install(shelf.image(extra=[filler(shelf, 24 * MIB)]))
    known = installed.information
    needed = (known.unpacked_size + known.layers_size) // 1024
    needed = needed + needed // 16 + 8192 + 2
    filler_file = f"{shelf.daemon.directory}/data/filler"

    def leave(kib):
        shelf.daemon.run(["rm", "-f", filler_file])
        shelf.daemon.run(["sync"])
        free = int(shelf.daemon.run(["df", "-k", "--output=avail", str(shelf.daemon.data_root)]).stdout.split()[-1])
        shelf.daemon.run(["fallocate", "-l", f"{free - kib}k", filler_file])

    try:
        leave(needed - 3000)
        output = preload("load", "--flush", installed.info, status=NO_SPACE)
        assert f"{installed.name}: too little space in {shelf.daemon.data_root}" in output
        assert "3 MiB are missing" in output
        assert installed.archive.exists()
        assert not shelf.daemon.docker("image", "ls", "--quiet", installed.name)
        leave(needed + 64)
        preload("load", "--flush", installed.info)
        assert shelf.daemon.run_image(installed.name) == shelf.output()
    finally:
        shelf.daemon.run(["rm", "-f", filler_file])


def test_one_bad_image_does_not_stop_the_others(shelf, preload):
    first, last = shelf.install(shelf.image("first"), shelf.name("1")), shelf.install(shelf.image("last"), shelf.name("3"))
    broken = shelf.install(shelf.image("broken"), shelf.name("2"))
    broken.archive.write_bytes(broken.archive.read_bytes()[:-1])
    absent = shelf.directory / "absent.image"
    output = preload("load", first.info, broken.info, last.info, status=FAILED)
    assert f"{broken.name}: the archive {broken.archive} has" in output
    assert shelf.daemon.run_image(first.name) == shelf.output("first")
    assert shelf.daemon.run_image(last.name) == shelf.output("last")
    assert f"{absent}: no such file" in preload("load", absent, first.info, status=BAD_INFO)
    # Failures of two kinds have the general status.
    preload("load", absent, broken.info, first.info, status=FAILED)


def test_archive_of_another_image_is_not_recorded(shelf, preload):
    """What Docker has after the load decides, not that docker load succeeded."""
    installed = shelf.install(shelf.image())
    installed.rewrite(**dict.fromkeys(("image_id", "manifest_digest", "source_digest"), "sha256:" + "0" * 64))
    assert "after docker load, Docker has" in preload("load", "--flush", installed.info, status=FAILED)
    assert installed.archive.exists()
    assert not preload.exists(preload.record(installed))


def test_damaged_archive_is_kept_and_the_error_has_dockers_words(shelf, preload):
    installed = shelf.install(shelf.image())
    installed.archive.write_bytes(b"x" * installed.information.archive_size)
    output = preload("load", "--flush", installed.info, status=FAILED)
    assert f"docker load of {installed.archive} failed: " in output
    assert installed.archive.exists()


@pytest.mark.parametrize("compression", ["none", "xz"])
def test_an_archive_that_ends_too_early_is_damaged(shelf, preload, compression):
    """With the right size. The runtime says EOF, as a client does whose daemon has gone."""
    installed = shelf.install(shelf.image(extra=[filler(shelf, 2 * MIB)]), compression=compression)
    installed.damage_archive(compression)
    output = preload("load", "--flush", installed.info, status=FAILED)
    assert f"docker load of {installed.archive} failed: " in output
    assert "went away" not in output
    # busybox's xz does not verify all checksums, so the archive may seem good, and is tried once more.
    assert output.count(f"{installed.name}: loading {installed.archive}") <= (2 if compression == "xz" else 1)
    assert installed.archive.exists()


@pytest.mark.parametrize("which", ["run", "records"])
def test_no_link_is_followed(shelf, preload, which):
    """Root would write where it leads."""
    installed = shelf.install(shelf.image())
    run, aside, good = (str(shelf.directory / name) for name in ("run", "aside", "good"))
    records = str(shelf.daemon.data_root / "dockin")
    script = 'mkdir "$3"; [ ! -e "$1" ] || mv "$1" "$2"; ln -s "$3" "$1"'
    link = run if which == "run" else records
    shelf.daemon.run(["sh", "-c", script, "sh", link, aside, good])
    try:
        output = preload("load", "--flush", installed.info, status=FAILED, DOCKIN_PRELOAD_RUN=run)
    finally:
        shelf.daemon.run(["sh", "-c", 'rm "$1"; [ ! -e "$2" ] || mv "$2" "$1"', "sh", link, aside])
    assert f"{installed.name}: {link} is a link, which is not followed: remove it; the archive is kept" in output
    assert shelf.daemon.run(["ls", "-A", good]).stdout == ""
    preload("load", "--flush", installed.info, DOCKIN_PRELOAD_RUN=run)
    assert not installed.archive.exists()


def test_two_at_once_load_once(shelf, preload):
    installed = shelf.install(shelf.image(extra=[filler(shelf, 8 * MIB)]))
    runs = []
    for number in range(3):
        with open(shelf.directory / f"output{number}", "wb") as output:
            runs.append(shelf.daemon.popen(preload.argv("load", "--flush", installed.info), stdout=output, stderr=output))
    assert [run.wait(60) for run in runs] == [OK] * 3
    outputs = "".join((shelf.directory / f"output{number}").read_text() for number in range(3))
    assert outputs.count("loaded in") == 1
    assert shelf.daemon.run_image(installed.name) == shelf.output()


def test_several_at_once_of_which_some_are_killed(shelf, preload):
    """Each for several images, in orders of their own; whoever is left, and the next one, finishes the work."""
    ones = [shelf.install(shelf.image(str(number), extra=[filler(shelf, (number + 1) * 2 * MIB)]), shelf.name(str(number)))
            for number in range(3)]
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    for turn in range(4):
        runs = []
        for number in range(4):
            infos = [one.info for one in chance.sample(ones, chance.randint(1, 3))]
            with open(shelf.directory / f"output{turn}{number}", "wb") as output:
                command = preload.argv("load", "--keep", "--prune", *infos)
                runs.append(shelf.daemon.popen(command, stdout=output, stderr=output, env=preload.environment()))
        time.sleep(chance.uniform(0, 1))
        commands = [pid for pid, argv in shelf.daemon.processes().items() if str(preload.directory / helper.NAME) in argv]
        for pid in chance.sample(commands, min(len(commands), 2)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for run in runs:
            run.wait(120)
    infos = [one.info for one in ones]
    preload("load", "--keep", *infos)
    lines = preload("status", *infos).splitlines()[1:]
    assert [line.split()[1:] for line in lines] == [["loaded", "yes", "yes"]] * 3, f"seed {seed}"
    assert [shelf.daemon.run_image(one.name) for one in ones] == [shelf.output(str(number)) for number in range(3)]


@pytest.mark.parametrize("victim", ["command", "daemon", "daemon that comes back"])
def test_killed_load_repeats_and_succeeds(shelf, preload, victim):
    installed = shelf.install(shelf.image(extra=[filler(shelf, 32 * MIB)]))
    patience = {"DOCKIN_PRELOAD_WAIT": "1" if victim == "daemon" else "60"}
    with open(shelf.directory / "output", "wb") as output:
        run = shelf.daemon.popen(preload.argv("load", "--flush", installed.info), stdout=output, stderr=output,
                                 env=preload.environment(**patience))
    loading = wait_for(lambda: [pid for pid, argv in shelf.daemon.processes().items() if argv[:2] == ["docker", "load"]])
    time.sleep(0.02)
    if victim == "command":
        commands = [pid for pid, argv in shelf.daemon.processes().items() if str(installed.info) in argv]
        for pid in (*commands, *loading):
            os.kill(pid, signal.SIGKILL)
    else:
        shelf.daemon.stop("KILL")
    if victim == "daemon that comes back":
        shelf.daemon.start()
        assert run.wait(60) == OK, (shelf.directory / "output").read_text()
    else:
        assert run.wait(60) != OK
        assert installed.archive.exists()
        assert not preload.exists(preload.record(installed))
        if victim == "daemon":
            shelf.daemon.start()
        preload("load", "--flush", installed.info)
    assert shelf.daemon.run_image(installed.name) == shelf.output()
    assert not installed.archive.exists()


def test_the_limit_of_a_load_does_not_count_the_wait_for_others(shelf, preload):
    installed = shelf.install(shelf.image())
    records = shelf.daemon.data_root / "dockin"
    shelf.daemon.run(["mkdir", "-p", str(records)])
    holder = shelf.daemon.popen(["flock", str(records / ".lock"), "sleep", "6"])
    preload("load", installed.info, DOCKIN_PRELOAD_LIMIT="3")
    assert holder.wait(10) == 0
    assert preload.exists(preload.record(installed))


def test_a_daemon_that_ends_while_a_load_waits_for_others(shelf, preload):
    """It is asked again then, as it would seem that the image is missing, and that its archive is gone for good."""
    installed = shelf.install(shelf.image())
    installed.archive.unlink()
    records = shelf.daemon.data_root / "dockin"
    shelf.daemon.run(["mkdir", "-p", str(records)])
    holder = shelf.daemon.popen(["flock", str(records / ".lock"), "sleep", "4"])
    with open(shelf.directory / "output", "wb") as output:
        run = shelf.daemon.popen(preload.argv("load", installed.info), stdout=output, stderr=output)
    time.sleep(2)
    assert run.poll() is None
    shelf.daemon.stop()
    assert run.wait(60) == NO_DOCKER
    shelf.daemon.start()
    assert "Docker does not answer any more" in (shelf.directory / "output").read_text()
    assert holder.wait(10) == 0


def test_a_daemon_that_ends_before_a_load(shelf, preload):
    """Again it would seem that image and archive are gone for good."""
    installed = shelf.install(shelf.image())
    preload("load", "--flush", installed.info)
    pid = f"{shelf.daemon.directory}/docker.pid"
    first = preload.script("docker", f'[ "$1 $2" != "image inspect" ] || kill -KILL $(cat {pid}) 2>/dev/null\n'
                                     f'exec {preload.directory}/bin/docker "$@"', "dies")
    output = preload("load", "--flush", installed.info, status=NO_DOCKER, first=first)
    shelf.daemon.start()
    assert "Docker does not answer any more" in output
    assert "nothing to do" in preload("load", "--flush", installed.info)


def test_a_load_that_does_not_wait_asks_the_daemon_once(shelf, preload):
    """Its client runs all its plugins for it, which takes longer than the rest of what a preload asks."""
    installed = shelf.install(shelf.image())
    asked = shelf.directory / "asked"
    real = f"{preload.directory}/bin/docker"
    first = preload.script("docker", f'[ "$1" != info ] || echo >>{asked}; exec {real} "$@"', "counts")
    preload("load", installed.info, first=first)
    assert asked.read_text() == "\n"


def test_a_load_that_never_ends_is_given_up(shelf, preload):
    installed = shelf.install(shelf.image())
    real = f"{preload.directory}/bin/docker"
    first = preload.script("docker", f'[ "$1" != load ] || exec sleep 600; exec {real} "$@"', "hangs")
    environment = preload.environment(first, DOCKIN_PRELOAD_LIMIT="3", DOCKIN_PRELOAD_PROGRESS="1")
    with open(shelf.directory / "output", "wb") as output:
        run = shelf.daemon.popen(preload.argv("load", "--flush", installed.info), stdout=output, stderr=output,
                                 env=environment)
    assert run.wait(30) != OK
    text = (shelf.directory / "output").read_text()
    assert f"{installed.name}: not done after 3 s" in text
    known = installed.information
    total = sum(-(-size // 1024) * 1024 for size in (known.unpacked_size, known.layers_size))
    assert re.search(rf"loading since [12] s: 0 bytes of about {total} are written", text), text
    assert '"error": "' in preload("status", "--json", installed.info, status=FAILED)
    assert installed.archive.exists() and not preload.exists(preload.record(installed))
    preload("load", "--flush", installed.info)
    assert shelf.daemon.run_image(installed.name) == shelf.output()


def test_progress_of_a_load(shelf, preload):
    """Seconds, and the bytes that the runtime has written, as it does not say them itself."""
    installed = shelf.install(shelf.image(extra=[filler(shelf, 16 * MIB)]))
    first = preload.script("docker", f'[ "$1" != load ] || {{ {preload.directory}/bin/docker "$@"; exec sleep 3; }}; '
                                     f'exec {preload.directory}/bin/docker "$@"', "slow")
    output = preload("load", installed.info, first=first, DOCKIN_PRELOAD_PROGRESS="1")
    [*_, last] = re.findall(r"loading since (\d+) s: (\d+) bytes of about (\d+) are written", output)
    assert int(last[0]) >= 1 and 16 * MIB <= int(last[1]) <= int(last[2])


def test_waits_for_a_daemon_that_starts_late(shelf, preload):
    installed = shelf.install(shelf.image())
    shelf.daemon.stop()
    with open(shelf.directory / "output", "wb") as output:
        run = shelf.daemon.popen(preload.argv("load", installed.info), stdout=output, stderr=output)
    time.sleep(1)
    assert run.poll() is None
    shelf.daemon.start()
    assert run.wait(30) == OK
    assert shelf.daemon.run_image(installed.name) == shelf.output()


@one_daemon
def test_no_daemon_ends_in_bounded_time(shelf, both_shells):
    installed = shelf.install(shelf.image())
    silent = shelf.directory / "silent.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(silent))
        listener.listen(50)
        for path in ("nobody.sock", silent.name):
            start = time.monotonic()
            output = both_shells("load", installed.info, status=NO_DOCKER, DOCKIN_PRELOAD_WAIT="1",
                                 DOCKER_HOST=f"unix://{shelf.directory}/{path}")
            assert "Docker did not answer within 1 s" in output
            assert 0.9 < time.monotonic() - start < 10


def test_no_docker_client(shelf, daemon):
    target = Target(daemon, "dash")
    installed = shelf.install(shelf.image())
    empty = shelf.directory / "empty"
    empty.mkdir()
    output = target("load", installed.info, status=NO_DOCKER, PATH=str(empty))
    assert "there is no command 'docker'" in output


SUBSTITUTION = "$(touch /pwned)"
HOSTILE = [
    ("name", SUBSTITUTION),
    ("name", "`touch /pwned`:1"),
    ("name", "app:1; touch /pwned"),
    ("name", "--help:1"),
    ("name", "app"),
    ("name", "app:1\r"),
    ("name", "app:1\x1b[2J"),
    ("name", "app:1 b"),
    ("name", "a" * 600 + ":1"),
    ("name", ""),
    ("reference", "docker.io/library/app"),
    ("reference", "docker.io/library/äpp:1"),
    ("archive", "../../etc/passwd"),
    ("archive", ".."),
    ("archive", "-rf"),
    ("archive", "/etc/passwd"),
    ("archive", SUBSTITUTION),
    ("archive_size", "0x10"),
    ("archive_size", "010"),
    ("archive_size", "-1"),
    ("archive_size", "a[$(touch /pwned)]"),
    ("unpacked_size", "1" * 30),
    ("layers_size", "archive_size"),
    ("image_id", "sha256:" + "A" * 64),
    ("image_id", "sha256:" + "a" * 63),
    ("manifest_digest", "*"),
    ("source_digest", "sha256:" + "a" * 64 + "/../x"),
    ("format", "2"),
    ("format", ""),
]


@one_daemon
def test_hostile_values_are_refused(shelf, both_shells):
    """Each in an information file of its own, all in one run, and a good one last."""
    content = images.image([images.layer({"word": "never\n"})])
    bad = [shelf.install(content, f"bad:{number}") for number, _ in enumerate(HOSTILE)]
    for installed, (key, value) in zip(bad, HOSTILE):
        lines = [line for line in installed.info.read_text().splitlines() if not line.startswith(f"{key}=")]
        installed.info.write_text("\n".join([*lines, f"{key}={value}"]), newline="\n")  # no newline at the end
    good = shelf.install(shelf.image(both_shells.shell))
    output = both_shells("load", "--flush", *[installed.info for installed in bad], good.info, status=BAD_INFO)
    for installed, (key, value) in zip(bad, HOSTILE):
        complaints = [line for line in output.splitlines() if line.startswith(f"dockin-preload: {installed.info}: ")]
        assert len(complaints) == 1, (key, value)
        assert key in complaints[0], (key, value)
        assert installed.archive.exists()
    assert f"{good.name}: loaded in" in output
    assert shelf.daemon.docker("image", "ls", "--quiet", "bad") == ""
    assert not both_shells.exists("/pwned")


@one_daemon
def test_lines_that_are_no_values(shelf, both_shells):
    installed = shelf.install(images.image([images.layer({"word": "never\n"})]))
    text = installed.info.read_text()
    installed.info.write_text(text + SUBSTITUTION + "\n")
    assert f"'{SUBSTITUTION}' is no line of the form key=value" in both_shells("load", installed.info, status=BAD_INFO)
    installed.info.write_bytes(bytes(range(1, 256)))
    both_shells("load", installed.info, status=BAD_INFO)
    installed.info.write_text("")
    both_shells("load", installed.info, status=BAD_INFO)
    assert not both_shells.exists("/pwned")


@one_daemon
def test_keys_of_a_later_version_and_comments_are_passed_over(shelf, both_shells):
    installed = shelf.install(shelf.image(both_shells.shell))
    installed.info.write_text(f"# a comment\n\n{installed.info.read_text()}later=$(touch /pwned)\n")
    both_shells("load", installed.info)
    assert not both_shells.exists("/pwned")


@one_daemon
def test_hostile_paths(shelf, both_shells):
    """A directory's name is the distribution's choice: it is quoted, wherever it goes."""
    folder = shelf.directory / "a b;$(touch pwned)'\"*[x]\\n"
    shelf.directory = folder
    installed = shelf.install(shelf.image(both_shells.shell))
    assert "loaded in" in both_shells("load", "--flush", installed.info)
    assert not installed.archive.exists()
    state = json.loads(both_shells("status", "--json", installed.info))
    assert state["images"][0]["info"] == str(installed.info)
    for name in ("a b.image", "..image", "-x.image", "x.txt", "x$(touch pwned).image"):
        (folder / name).write_text(installed.info.read_text())
        both_shells("load", folder / name, status=BAD_INFO)


def test_status_in_text_and_json(shelf, both_shells):
    loaded = shelf.install(shelf.image("loaded"), shelf.name("loaded"))
    missing = shelf.install(shelf.image("missing"), shelf.name("missing"))
    other = shelf.install(shelf.image("other"), shelf.name("other"))
    broken = shelf.directory / "broken.image"
    broken.write_text("format=7\n")
    both_shells("load", "--flush", loaded.info)
    shelf.daemon.docker("tag", loaded.name, other.name)

    output = both_shells("status", status=FAILED, DOCKIN_ARCHIVEDIR=str(shelf.directory))
    rows = [line.split() for line in output.splitlines() if not line.startswith("dockin-preload: ")]
    assert rows == [
        ["IMAGE", "STATE", "ARCHIVE", "RECORDED"],
        [str(broken), "invalid", "no", "no"],
        [loaded.name, "loaded", "no", "yes"],
        [missing.name, "missing", "yes", "no"],
        [other.name, "other", "yes", "no"],
    ]

    def entry(installed, state, image_id, archive, recorded):
        known = installed.information
        return {"info": str(installed.info), "name": known.name, "reference": known.reference, "runtime": "docker",
                "state": state, "id": image_id, "archive": archive, "archive_size": known.archive_size,
                "recorded": recorded, "interrupted": False, "error": None}

    image_id = shelf.daemon.docker("image", "inspect", "--format", "{{.Id}}", loaded.name)
    done = both_shells("status", "--json", loaded.info, missing.info, other.info, status=FAILED)
    assert json.loads(done) == {"schema": 1, "images": [
        entry(loaded, "loaded", image_id, False, True),
        entry(missing, "missing", None, True, False),
        entry(other, "other", image_id, True, False),
    ]}
    assert "loaded" in both_shells("status", loaded.info)


@one_daemon
def test_status_without_images_or_docker(shelf, both_shells):
    shelf.directory.mkdir(exist_ok=True)
    assert json.loads(both_shells("status", "--json", DOCKIN_ARCHIVEDIR=str(shelf.directory))) == {
        "schema": 1, "images": []}
    installed = shelf.install(images.image([images.layer({"word": "never\n"})]))
    output = both_shells("status", "--json", installed.info, status=NO_DOCKER, DOCKER_HOST="unix:///nobody")
    assert '"state": "unknown"' in output
    assert "Docker does not answer" in output


@one_daemon
def test_usage(both_shells):
    assert "usage: dockin-preload load" in both_shells("--help")
    both_shells(status=USAGE)
    assert "unknown command 'lode'" in both_shells("lode", status=USAGE)
    assert "unknown option '--flsh'" in both_shells("load", "--flsh", "x.image", status=USAGE)
    assert "needs an image information file" in both_shells("load", "--flush", status=USAGE)
    assert "unknown option" in both_shells("status", "--jason", status=USAGE)
    assert "DOCKIN_PRELOAD_WAIT" in both_shells("load", "x", status=USAGE, DOCKIN_PRELOAD_WAIT="1m")


def test_errors_have_the_journals_priority(shelf, preload):
    absent = shelf.directory / "absent.image"
    assert preload("load", absent, status=BAD_INFO, JOURNAL_STREAM="8:1").startswith("<3>dockin-preload: ")
    assert preload("load", absent, status=BAD_INFO).startswith("dockin-preload: ")


def test_switched_store_loads_again(busybox):
    """A daemon.json with the containerd store on a data-root that had the classic one: another .Id, another record."""
    with docker.start(kind=docker.NEWER_CLASSIC) as daemon:
        target, shelf = Target(daemon, "busybox"), Shelf(daemon, busybox)
        installed = shelf.install(shelf.image())
        target("load", installed.info)
        classic = daemon.run(["cat", str(target.record(installed))]).stdout
        daemon.stop()
        daemon.kind = dataclasses.replace(daemon.kind, store="containerd")
        daemon.start()
        assert "loaded in" in target("load", "--flush", installed.info)
        assert daemon.run_image(installed.name) == shelf.output()
        containerd = daemon.run(["cat", str(target.record(installed))]).stdout
        assert f"id={installed.information.image_id}\n" in classic
        assert f"id={installed.information.manifest_digest}\n" in containerd


def test_containerd_of_its_own(busybox):
    """As on targets where systemd starts containerd: the images are in its place, so the space there counts."""
    with docker.start(kind=docker.CONTAINERD, system_containerd=True) as daemon:
        target, shelf = Target(daemon, "dash"), Shelf(daemon, busybox)
        installed = shelf.install(shelf.image())
        small = daemon.directory / "small"
        small.mkdir()
        daemon.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)])
        output = target("load", installed.info, status=NO_SPACE, DOCKIN_CONTAINERD_ROOT=str(small))
        assert f"too little space in {small}" in output
        log = shelf.directory / "syncs"
        first = target.script("sync", f'echo "$#" >>{log}; exec /bin/busybox sync "$@"', "spies")
        elsewhere = shelf.install(shelf.image("elsewhere"), shelf.name("elsewhere"))
        target("load", elsewhere.info, DOCKIN_CONTAINERD_ROOT="/nowhere")
        target("load", "--flush", installed.info, first=first,
               DOCKIN_CONTAINERD_ROOT=f"{daemon.directory}/data/containerd")
        # Everything, before and after the notes, as its file systems are not known.
        assert log.read_text().split() == ["1", "0", "1", "1", "0"]
        assert daemon.run_image(installed.name) == shelf.output()
        assert not installed.archive.exists()
