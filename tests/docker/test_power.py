# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Power cuts that lose what was not on the disk yet: no image with empty or short files is ever taken for a good one.

The data are on an ext4 file system that is shut down at an instant of the load, as a power cut leaves it. Docker fsyncs its
notes, and not the files of layers, so that a layer can be there whose files are empty; every later load takes it for whole.
Whether a load, a pull or the preload has made it is all the same.
"""

from __future__ import annotations

import dataclasses
import random
import re
import time

import pytest

from support import docker, images
from support.installed import COMPRESSIONS, Shelf
from support.target import FAILED, MIB, NO_ARCHIVE, NO_DOCKER, NO_SPACE, OK, Target, filler, wait_for

SEED = 20261123
IN_DOUBT = "not recorded and may be older than this boot"
# Or the image can't even be inspected, or loaded.
FOUND_OUT = (IN_DOUBT, "has damaged files", "trying once more")
SUM = "find /files /word -type f | sort | xargs sha256sum | sha256sum"


def files(shelf, number, count=24):
    """Return a layer of files of many sizes, the same for the same number."""
    source = random.Random(f"{SEED} {shelf.number} {number}")
    return images.layer(
        {f"files/{number}/{name}": source.randbytes(source.randrange(1, 90000)) for name in range(count)}, "none")


def truth(daemon, name):
    """Return the checksum of an image's files, as a container has them; what is so damaged that none runs is no error."""
    try:
        return daemon.run_image(name, "sh", "-c", SUM)
    except docker.DaemonError as error:
        return str(error)


@pytest.fixture
def powered(request, busybox):
    """A daemon of its own, the command beside it, and images."""
    with docker.start(kind=request.param) as daemon:
        yield daemon, Target(daemon, "dash"), Shelf(daemon, busybox)


only_containerd = pytest.mark.parametrize("powered", [docker.CONTAINERD], ids=str, indirect=True)
every_kind = pytest.mark.parametrize("powered", docker.KINDS, ids=str, indirect=True)
both_stores = pytest.mark.parametrize("powered", (docker.OLDER_CLASSIC, docker.CONTAINERD), ids=str, indirect=True)


def cut_after_load(daemon, target, shelf, installed):
    """Cut the power after a load and before the image is synced; start the daemon again."""
    loaded, done = shelf.directory / "loaded", shelf.directory / "cut"
    done.unlink(missing_ok=True)
    real = f"{target.directory}/bin/docker"
    target.script("docker", f'{real} "$@"; status=$?\n[ "$1" != load ] || : >{loaded}\nexit $status', "cut")
    # The sync after the load never ends.
    first = target.script("sync", f'if [ -e {loaded} ]; then : >{done}; exec sleep 600; fi; exec /bin/busybox sync', "cut")
    with open(shelf.directory / "output", "wb") as output:
        shelf.daemon.popen(target.argv("load", "--flush", installed.info), stdout=output, stderr=output,
                           env=target.environment(first))
    wait_for(done.exists)
    loaded.unlink()
    daemon.cut_power()
    daemon.start()


def cut_that_costs(daemon, cut, is_whole):
    """Cut the power so that files are lost.

    The kernel may have written them by itself, as in a sync(1) of any other process of the machine. Then they are emptied,
    which is what a cut leaves of files that ext4 has not written.
    """
    cut()
    if is_whole():
        files = [str(daemon.data_root), "-path", "*/files/*/*", "-type", "f"]
        daemon.run(["find", *files, "-exec", "truncate", "--size=0", "{}", "+"])
        reboot(daemon)
        assert not is_whole()


@every_kind
def test_a_power_cut_before_the_sync(powered):
    """Layers are registered, some without what their files had; an image that shares them is loaded first."""
    daemon, target, shelf = powered
    shared = [files(shelf, 1), files(shelf, 2)]
    one = shelf.install(shelf.image("one", extra=[*shared, files(shelf, 3)]), shelf.name("one"))
    other = shelf.install(shelf.image("other", extra=shared), shelf.name("other"))
    target("load", one.info, other.info)
    right = {installed.name: truth(daemon, installed.name) for installed in (one, other)}
    assert all(text.endswith("-") for text in right.values())
    for installed in (one, other):
        daemon.docker("image", "rm", installed.name)
    daemon.run(["rm", "-r", str(daemon.data_root / "dockin")])
    reboot(daemon)

    def is_whole():
        # The very thing that must not be recorded: a load that succeeds and gives no whole image.
        daemon.docker("load", "--input", str(one.archive), check=False)
        return truth(daemon, one.name) == right[one.name]

    cut_that_costs(daemon, lambda: cut_after_load(daemon, target, shelf, one), is_whole)
    output = target("load", "--flush", other.info)
    assert any(words in output for words in FOUND_OUT)
    target("load", "--flush", one.info)
    assert {name: truth(daemon, name) for name in right} == right
    for installed in (one, other):
        assert not installed.archive.exists()
        assert "nothing to do" in target("load", installed.info)
        assert not target.exists(target.marker(installed))


@every_kind
def test_power_cuts_at_many_instants_of_one_load(powered):
    daemon, target, shelf = powered
    installed = shelf.install(shelf.image(extra=[files(shelf, number) for number in range(4)]))
    started = time.monotonic()
    target("load", installed.info)
    seconds = time.monotonic() - started
    right = truth(daemon, installed.name)
    daemon.docker("image", "rm", installed.name)
    daemon.run(["rm", "-r", str(daemon.data_root / "dockin")])
    daemon.run(["sync"])
    source = random.Random(SEED)
    for _ in range(3):
        daemon.popen(target.argv("load", installed.info), env=target.environment())
        time.sleep(seconds * source.uniform(0.2, 0.95))
        daemon.cut_power()
        daemon.start()
    target("load", "--flush", installed.info)
    assert truth(daemon, installed.name) == right
    assert not installed.archive.exists()


def damage(daemon, name):
    """Empty a file of an image below Docker's feet."""
    text = daemon.run_image(name)
    pattern = "overlay2/*/diff/word" if daemon.kind.store == "classic" else "*/daemon/*overlayfs/snapshots/*/fs/word"
    daemon.run(["sh", "-c", f': >"$(grep -lx "{text}" {daemon.data_root}/{pattern})"'])
    assert daemon.run_image(name) == ""


def reboot(daemon):
    """Boot again, with all on the disk."""
    daemon.run(["sync"])
    daemon.cut_power()
    daemon.start()


def forget(target, installed):
    """Make it look as if the power had been cut after a load and before its record."""
    target.daemon.run(["rm", str(target.record(installed)), str(target.brought(installed))])
    reboot(target.daemon)


def is_recorded(target, installed):
    return target.exists(target.record(installed))


@both_stores
@pytest.mark.parametrize("user", ["container", "name"])
def test_a_damaged_image_that_is_in_use_is_neither_removed_nor_recorded(powered, user):
    daemon, target, shelf = powered
    installed = shelf.install(shelf.image())
    target("load", installed.info)
    if user == "container":
        daemon.docker("create", "--name", "theirs", "--network", "none", installed.name)
    else:
        daemon.docker("tag", installed.name, "theirs:1")
    damage(daemon, installed.name)
    forget(target, installed)
    if user == "container" or daemon.kind.store == "classic":
        output = target("load", "--flush", installed.info, status=FAILED)
        assert "theirs" in output and "kept for" in output
        assert installed.archive.exists() and not is_recorded(target, installed)
        state = target("status", "--json", installed.info, status=FAILED)
        assert '"state": "doubtful"' in state and "kept for" in state
        assert installed.name in daemon.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()
    if user == "container":
        daemon.docker("rm", "theirs")
    elif daemon.kind.store == "classic":
        daemon.docker("image", "rm", "theirs:1")
    target("load", "--flush", installed.info)
    assert daemon.run_image(installed.name) == shelf.output()
    if user == "name" and daemon.kind.store == "containerd":
        assert daemon.run_image("theirs:1") == shelf.output(), "the name is of the mended image as well"
    assert '"error": null' in target("status", "--json", installed.info)


@both_stores
def test_an_image_that_was_not_recorded(powered):
    """Brought by hand, before the package was installed: proved, or replaced; never out of use."""
    daemon, target, shelf = powered
    installed = [shelf.install(shelf.image(word), shelf.name(word)) for word in ("whole", "damaged", "used")]
    for one in installed:
        daemon.docker("load", "--input", str(one.archive))
    whole, damaged, used = installed
    damage(daemon, damaged.name)
    daemon.docker("create", "--network", "none", "--name", "user", used.name)
    reboot(daemon)

    output = target("load", "--flush", whole.info)
    assert IN_DOUBT in output and "loaded in" not in output
    assert is_recorded(target, whole) and not whole.archive.exists()
    output = target("load", "--flush", damaged.info)
    assert "has damaged files" in output and "loaded in" in output
    assert daemon.run_image(damaged.name) == shelf.output("damaged")
    output = target("load", "--flush", used.info)
    assert "loaded in" not in output and is_recorded(target, used) and not used.archive.exists()
    assert daemon.docker("start", "--attach", "user") == shelf.output("used")


@both_stores
def test_a_damaged_image_stays_while_nothing_can_replace_it(powered):
    """An archive that is gone, or damaged without another size, or no space for the load."""
    daemon, target, shelf = powered
    installed = shelf.install(shelf.image(), compression="xz")
    daemon.docker("load", "--input", str(installed.archive))
    damage(daemon, installed.name)
    reboot(daemon)
    good = installed.archive.read_bytes()

    def stays(status, message):
        assert message in target("load", "--flush", installed.info, status=status)
        assert daemon.docker("image", "ls", "--quiet", installed.name) and not is_recorded(target, installed)
        assert daemon.run_image(installed.name, "echo", "there") == "there"

    installed.archive.unlink()
    stays(NO_ARCHIVE, "is gone")
    installed.archive.write_bytes(good[:-1000] + bytes(1000))
    stays(FAILED, "can't be read to its end")
    installed.archive.write_bytes(good)
    filled = f"{daemon.directory}/data/filler"
    free = int(daemon.run(["df", "-k", "--output=avail", str(daemon.data_root)]).stdout.split()[-1])
    daemon.run(["fallocate", "-l", f"{free - 4096}k", filled])
    stays(NO_SPACE, "too little space")
    daemon.run(["rm", filled])
    target("load", "--flush", installed.info)
    assert daemon.run_image(installed.name) == shelf.output()


@pytest.mark.parametrize("powered", [docker.NEWER_CLASSIC], ids=str, indirect=True)
def test_a_damaged_image_is_mended_from_any_archive_that_docker_reads(powered):
    """The archive is read to its end before; Docker has its own zstd, and the target may be without."""
    daemon, target, shelf = powered
    (target.directory / "bin/zstd").unlink()
    made = {kind: shelf.install(shelf.image(kind), shelf.name(kind), compression=kind) for kind in COMPRESSIONS}
    for installed in made.values():
        daemon.docker("load", "--input", str(installed.archive))
        damage(daemon, installed.name)
    reboot(daemon)
    for kind, installed in made.items():
        assert "loaded in" in target("load", "--flush", installed.info), kind
        assert daemon.run_image(installed.name) == shelf.output(kind)
        assert not installed.archive.exists()


@pytest.mark.parametrize("powered", docker.CLASSICS, ids=str, indirect=True)
def test_a_check_that_fails_for_another_reason_is_no_damage(powered):
    """docker save fails for want of space, or as the daemon dies: the image stays, unrecorded, and is checked again."""
    daemon, target, shelf = powered
    installed = shelf.install(shelf.image(extra=[filler(shelf, 40 * MIB)]))
    daemon.docker("load", "--input", str(installed.archive))
    reboot(daemon)
    image = daemon.docker("image", "inspect", "--format", "{{.Metadata.LastTagTime}}", installed.name)

    size = installed.information.unpacked_size
    filled = f"{daemon.directory}/data/filler"
    free = int(daemon.run(["df", "-k", "--output=avail", str(daemon.data_root)]).stdout.split()[-1])
    daemon.run(["fallocate", "-l", f"{free - 20480}k", filled])
    installed.rewrite(unpacked_size=1)
    output = target("load", "--flush", installed.info, status=NO_SPACE)
    assert "no space left" in output
    daemon.run(["rm", filled])

    installed.rewrite(unpacked_size=size)
    pid = f"{daemon.directory}/docker.pid"
    first = target.script("docker", f'if [ "$1" = save ]; then kill -KILL $(cat {pid}); fi; '
                                    f'exec {target.directory}/bin/docker "$@"', "dying")
    target("load", "--flush", installed.info, status=NO_DOCKER, first=first)
    daemon.start()
    # A client that is killed.
    first = target.script("docker", f'if [ "$1" = save ]; then kill -KILL $$; fi; exec {target.directory}/bin/docker "$@"',
                          "killed")
    assert "its check ended with status 137" in target("load", "--flush", installed.info, status=FAILED, first=first)
    assert not is_recorded(target, installed) and installed.archive.exists()
    assert daemon.docker("image", "inspect", "--format", "{{.Metadata.LastTagTime}}", installed.name) == image
    assert "loaded in" not in target("load", "--flush", installed.info)
    assert is_recorded(target, installed)


def cut_after(daemon, *argv):
    """Run a command of docker's, and cut the power as it ends."""
    daemon.docker(*argv)
    daemon.cut_power()
    daemon.start()


@every_kind
def test_layers_that_somebody_elses_load_left(powered):
    """Of another image, of which the preload knows nothing, and which shares layers with one of the preload's."""
    daemon, target, shelf = powered
    shared = [files(shelf, 1), files(shelf, 2)]
    ours = shelf.install(shelf.image("ours", extra=shared), shelf.name("ours"))
    target("load", ours.info)
    right = truth(daemon, ours.name)
    daemon.docker("image", "rm", ours.name)
    daemon.run(["rm", "-r", str(daemon.data_root / "dockin")])
    folder, shelf.directory = shelf.directory, daemon.directory / "theirs"
    theirs = shelf.install(shelf.image("ours", extra=[*shared, files(shelf, 3)]), shelf.name("theirs"))
    shelf.directory = folder
    reboot(daemon)

    cut_that_costs(daemon, lambda: cut_after(daemon, "load", "--input", str(theirs.archive)),
                   lambda: truth(daemon, theirs.name) == right)
    if daemon.kind.store == "classic":
        listed = ("image", "ls", "--all", "--quiet", "--no-trunc")
        before = set(daemon.docker(*listed).split())
        output = target("load", "--flush", ours.info, status=FAILED)
        assert "has damaged files" in output and "other images share them" in output
        assert ours.archive.exists() and not is_recorded(target, ours)
        assert before <= set(daemon.docker(*listed).split()), "a user's image was removed"
        daemon.docker("image", "rm", theirs.information.image_id)
    target("load", "--flush", ours.info)
    assert truth(daemon, ours.name) == right
    assert is_recorded(target, ours) and not ours.archive.exists()


@every_kind
def test_an_image_that_was_removed_and_came_again_by_other_hands(powered):
    """The same image under the same name, but its files are not those that were recorded."""
    daemon, target, shelf = powered
    installed = shelf.install(shelf.image(extra=[files(shelf, 1), files(shelf, 2)]))
    target("load", installed.info)
    right = truth(daemon, installed.name)
    reboot(daemon)
    assert "nothing to do" in target("load", installed.info)
    daemon.docker("image", "rm", installed.name)
    daemon.run(["sync"])
    cut_that_costs(daemon, lambda: cut_after(daemon, "load", "--input", str(installed.archive)),
                   lambda: truth(daemon, installed.name) == right)
    output = target("load", "--flush", installed.info)
    assert "has damaged files" in output and "loaded in" in output
    assert truth(daemon, installed.name) == right
    # Whole, it is only recorded anew.
    shelf.install(shelf.image(extra=[files(shelf, 1), files(shelf, 2)]))
    daemon.docker("image", "rm", installed.name)
    daemon.docker("load", "--input", str(installed.archive))
    reboot(daemon)
    assert "loaded in" not in target("load", installed.info)
    assert "nothing to do" in target("load", installed.info)


@both_stores
def test_layers_of_this_boot_that_came_before_its_first_load(powered):
    """The units found all there at boot and noted nothing, so these are checked; that they are older is not claimed."""
    daemon, target, shelf = powered
    installed = shelf.install(shelf.image())
    target("load", installed.info)
    reboot(daemon)
    assert "nothing to do" in target("load", installed.info)
    daemon.docker("image", "rm", installed.name)
    daemon.docker("load", "--input", str(installed.archive))
    output = target("load", installed.info)
    assert IN_DOUBT in output and "are older" not in output and "loaded in" not in output
    assert "nothing to do" in target("load", installed.info)


@both_stores
def test_layers_that_a_record_has_are_not_checked_again(powered):
    """Other images share them, in this boot and in later ones."""
    daemon, target, shelf = powered
    base = [files(shelf, 1)]
    one, two, three = (shelf.install(shelf.image("base", extra=[*base, files(shelf, word)]), shelf.name(word))
                       for word in ("one", "two", "three"))
    assert "checking" not in target("load", one.info, two.info)
    reboot(daemon)
    assert "checking" not in target("load", three.info)
    assert all(is_recorded(target, each) for each in (one, two, three))


@both_stores
def test_a_process_that_was_killed_is_no_power_cut(powered):
    """In the same boot nothing is lost, so a sync and a record are all that is missing."""
    daemon, target, shelf = powered
    installed = shelf.install(shelf.image())
    target("load", installed.info)
    daemon.run(["rm", str(target.record(installed))])
    output = target("load", "--flush", installed.info)
    assert "loaded in" not in output and "checking" not in output
    assert is_recorded(target, installed) and not installed.archive.exists()


@only_containerd
@pytest.mark.parametrize("answers", ["later", "never", "no more"])
def test_a_containerd_that_gives_no_answer_proves_nothing(powered, answers):
    """Not at first: what is there is in doubt. Never: it stays as it is. Or not after the repair: that is no repair."""
    daemon, target, shelf = powered
    installed = shelf.install(shelf.image())
    daemon.docker("load", "--input", str(installed.archive))
    damage(daemon, installed.name)
    reboot(daemon)
    silent = {
        "later": 'case "$*" in *"snapshots "*ls) [ -e "$0.asked" ] || { : >"$0.asked"; exit 1; } ;; esac',
        "never": "exit 1",
        "no more": 'case "$*" in *"leases rm --sync"*) : >"$0.on" ;; *"snapshots "*ls) [ ! -e "$0.on" ] || exit 1 ;; esac',
    }[answers]
    first = target.script("ctr", f'{silent}\nexec {target.directory}/bin/ctr "$@"', "silent")
    output = target("load", "--flush", installed.info, status=FAILED if answers == "no more" else OK, first=first)
    if answers == "later":
        assert "has damaged files" in output and "loaded in" in output
    else:
        assert "loaded in" not in output and installed.archive.exists() and not is_recorded(target, installed)
        assert ("can't be checked" if answers == "never" else "no answer") in output
        output = target("load", "--flush", installed.info)
        assert answers == "no more" or "has damaged files" in output
    assert daemon.run_image(installed.name) == shelf.output()
    assert is_recorded(target, installed) and not installed.archive.exists()


@only_containerd
def test_an_image_that_was_not_unpacked_is_loaded(powered):
    """A load was cut short before the first layer of all."""
    daemon, target, shelf = powered
    installed = shelf.install(shelf.image())
    ctr = ["ctr", "--address", daemon.containerd_socket, "--namespace", "moby"]
    daemon.run([*ctr, "images", "import", "--no-unpack", str(installed.archive)])
    assert daemon.docker("image", "inspect", "--format", "{{.Id}}", installed.name)
    assert daemon.run([*ctr, "snapshots", "ls"]).stdout.count("Committed") == 0
    assert "loaded in" in target("load", "--flush", installed.info)
    assert daemon.run([*ctr, "snapshots", "ls"]).stdout.count("Committed") == 2
    assert is_recorded(target, installed) and not installed.archive.exists()


@only_containerd
def test_what_a_killed_load_has_left_in_containerd_is_not_taken_for_whole(powered):
    """A lease of the killed load keeps its snapshots for a day; without ctr they can't be told, and nothing is recorded."""
    daemon, target, shelf = powered
    installed = shelf.install(shelf.image(extra=[filler(shelf, 12 * MIB) for _ in range(5)] + [files(shelf, 1)]))
    target("load", installed.info)
    right = truth(daemon, installed.name)
    daemon.docker("image", "rm", installed.name)
    daemon.run(["rm", "-r", str(daemon.data_root / "dockin")])
    reboot(daemon)
    ctr = f"ctr --address {daemon.containerd_socket} --namespace moby"

    def has_layers():
        asked = f"[ $({ctr} snapshots ls | grep -c Committed) -gt 1 ]"
        return daemon.run(["sh", "-c", asked], check=False).returncode == 0

    for _ in range(10):
        run = daemon.popen(target.argv("load", installed.info), env=target.environment())
        wait_for(lambda run=run: has_layers() or run.poll() is not None)
        daemon.cut_power()
        daemon.start()
        if has_layers() and not is_recorded(target, installed):
            break
    else:
        pytest.fail("no load could be killed between its first layers and its end")
    without = target.directory / "without"
    without.mkdir()
    for program in (target.directory / "bin").iterdir():
        if program.name != "ctr":
            (without / program.name).symlink_to(program)
    output = target("load", "--flush", installed.info, PATH=str(without))
    assert "is ctr there" in output and installed.archive.exists() and not is_recorded(target, installed)
    target("load", "--flush", installed.info)
    assert truth(daemon, installed.name) == right
    assert is_recorded(target, installed) and not installed.archive.exists()


def free_kib(daemon):
    return int(daemon.run(["df", "-k", "--output=avail", str(daemon.data_root)]).stdout.split()[-1])


def leave(daemon, kib):
    """Fill the file system so that no more is free."""
    daemon.run(["sync"])
    daemon.run(["fallocate", "-l", f"{free_kib(daemon) - kib}k", f"{daemon.directory}/data/filler"])


def needed_kib(known):
    """Return what the command wants to be free for the load of an image with that information."""
    needed = -(-known.unpacked_size // 1024) + -(-known.layers_size // 1024)
    return needed + needed // 16 + 8192


@every_kind
@pytest.mark.parametrize("end", ["of all", "of dockerd"])
def test_a_cut_load_on_a_partition_that_is_just_large_enough(powered, end):
    """What it has left occupies a part of what the load needs, and makes that less."""
    daemon, target, shelf = powered
    installed = shelf.install(shelf.image(extra=[filler(shelf, 12 * MIB) for _ in range(6)]))
    leave(daemon, needed_kib(installed.information) + 2048)
    pattern = "overlay2/*/diff/filler" if daemon.kind.store == "classic" else "*/daemon/*overlayfs/snapshots/*/fs/filler"

    def layers():
        return int(daemon.run(["sh", "-c", f"ls {daemon.data_root}/{pattern} 2>/dev/null | wc -l"]).stdout)

    with open(shelf.directory / "output", "wb") as output:
        run = daemon.popen(target.argv("load", "--flush", installed.info), stdout=output, stderr=output,
                           env=target.environment())
    wait_for(lambda: layers() >= 3 or run.poll() is not None)
    if end == "of all":
        daemon.run(["sync"])  # as the kernel does by itself after some seconds
        wait_for(lambda: layers() >= 5 or run.poll() is not None)
        assert run.poll() is None
        daemon.cut_power()
        daemon.start()
        needed = needed_kib(installed.information)
        assert free_kib(daemon) < needed, "the cut load has left nothing, so the test shows nothing"
        # Again, and what was free at first is still known.
        run = daemon.popen(target.argv("load", "--flush", installed.info), env=target.environment())
        wait_for(lambda: layers() >= 5 or run.poll() is not None)
        daemon.run(["sync"])
        daemon.cut_power()
        daemon.start()
        target("load", "--flush", installed.info)
    else:
        assert run.poll() is None
        daemon.stop("KILL")
        daemon.start()
        assert run.wait(90) == OK, (shelf.directory / "output").read_text()
    assert daemon.run_image(installed.name) == shelf.output()
    assert is_recorded(target, installed) and not installed.archive.exists()


@both_stores
def test_a_record_is_gone_from_the_disk_when_its_image_is_loaded_again(powered):
    """What is made then may look like what was recorded: the same inode, in the same second of another boot."""
    daemon, target, shelf = powered
    installed = shelf.install(shelf.image(extra=[files(shelf, 1), files(shelf, 2)]))
    target("load", installed.info)
    right = truth(daemon, installed.name)
    daemon.docker("image", "rm", installed.name)
    reboot(daemon)
    assert is_recorded(target, installed)
    cut_after_load(daemon, target, shelf, installed)
    assert not is_recorded(target, installed)
    target("load", "--flush", installed.info)
    assert truth(daemon, installed.name) == right
    assert is_recorded(target, installed) and not installed.archive.exists()


@both_stores
def test_a_load_that_finds_no_room_is_no_damage(powered):
    """The file system's blocks are larger than the build counts. Nothing is tried again, nothing of others is dropped."""
    daemon, target, shelf = powered
    theirs = shelf.install(shelf.image("theirs"), shelf.name("theirs"))
    daemon.docker("load", "--input", str(theirs.archive))
    reboot(daemon)
    small = images.layer({f"small/{number}": f"{number}".encode() * 100 for number in range(16000)}, "none")
    installed = shelf.install(shelf.image(extra=[small]), compression="xz")
    # As if the build had counted blocks of less than 4 KiB, which the data's file system has.
    counted = dataclasses.replace(installed.information, layers_size=installed.information.unpacked_size)
    assert counted.layers_size < installed.information.layers_size // 2
    installed.info.write_text(counted.render())
    leave(daemon, needed_kib(counted) + 1024)
    ctr = f"ctr --address {daemon.containerd_socket} --namespace moby snapshots ls | grep Committed"

    def snapshots():
        # Their keys: the columns are as wide as the longest key, which may be that of a load that found no room.
        return {line.split()[0] for line in daemon.run(["sh", "-c", ctr], check=False).stdout.splitlines()}

    before = snapshots()
    assert bool(before) == (daemon.kind.store == "containerd")
    output = target("load", "--flush", installed.info, status=NO_SPACE)
    assert "Docker found too little space in" in output and "no space left" in output
    assert "MiB were free before the load" in output
    assert "once more" not in output and output.count("loading") == 1
    assert installed.archive.exists() and not is_recorded(target, installed)
    assert before <= snapshots()
    assert '"interrupted": false' in target("status", "--json", installed.info, status=FAILED)
    daemon.run(["rm", f"{daemon.directory}/data/filler"])
    target("load", "--flush", installed.info)
    assert daemon.run_image(installed.name) == shelf.output()
    assert daemon.run_image(theirs.name) == shelf.output("theirs")


@both_stores
def test_going_back_to_the_previous_image_needs_no_space(powered):
    """Its layers were recorded whole, and are in no doubt because another image was recorded under the name since."""
    daemon, target, shelf = powered
    options, directory, slots = ("--flush", "--prune", "--keep-previous"), shelf.directory, {}
    for word in ("first", "second"):
        shelf.directory = directory / word
        slots[word] = shelf.install(shelf.image(word, extra=[filler(shelf, 40 * MIB)]))
        target("load", *options, slots[word].info)
        reboot(daemon)
    leave(daemon, 20480)
    for word in ("first", "second"):
        output = target("load", *options, slots[word].info)
        assert "of an earlier time again" in output
        assert daemon.kind.store == "containerd" or "checking" not in output
        assert daemon.run_image(slots[word].name) == shelf.output(word)
        assert is_recorded(target, slots[word])
        reboot(daemon)


@pytest.mark.parametrize("powered", docker.CLASSICS, ids=str, indirect=True)
def test_a_message_speaks_of_an_archive_only_if_there_is_one(powered):
    daemon, target, shelf = powered
    installed = shelf.install(shelf.image(extra=[filler(shelf, 40 * MIB)]))
    target("load", "--keep", installed.info)
    daemon.run(["rm", "-r", str(daemon.data_root / "dockin")])
    reboot(daemon)
    leave(daemon, 20480)
    assert "the archive is kept" in target("load", "--flush", installed.info, status=NO_SPACE)
    installed.archive.unlink()
    output = target("load", "--flush", installed.info, status=NO_SPACE)
    assert "too little space" in output and "archive" not in output


@only_containerd
def test_an_image_made_of_layers_that_are_there_keeps_them(powered):
    """containerd notes that an image uses its snapshots when it unpacks them, not when it finds them."""
    daemon, target, shelf = powered
    one = shelf.install(shelf.image(), shelf.name("one"))
    target("load", one.info)
    reboot(daemon)
    same = [shelf.busybox, images.layer({"word": f"hello {shelf.number}\n"}, "none")]
    two = shelf.install(images.image(same, command=("cat", "/word"), config={"author": "another"}), shelf.name("two"))
    target("load", two.info)
    ctr = ["ctr", "--address", daemon.containerd_socket, "--namespace", "moby"]
    labels = daemon.run([*ctr, "content", "ls", f"digest=={two.information.image_id}"]).stdout
    [top] = re.findall(r"containerd\.io/gc\.ref\.snapshot\.overlayfs=(sha256:[0-9a-f]{64})", labels)
    daemon.docker("image", "rm", one.name)
    daemon.run([*ctr, "leases", "create", "--id", "collect"])
    daemon.run([*ctr, "leases", "rm", "--sync", "collect"])
    assert re.search(rf"^{top} .*Committed", daemon.run([*ctr, "snapshots", "ls"]).stdout, re.M)
    assert daemon.run_image(two.name) == shelf.output()
