# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Power cuts that lose what was not on the disk yet: no image with empty or short files is ever taken for a good one.

The data are on an ext4 file system that is shut down at an instant of the load, as a power cut leaves it. Docker fsyncs its
notes, and not the files of layers, so that a layer can be there whose files are empty; every later load takes it for whole.
"""

from __future__ import annotations

import random
import time

import pytest

from support import docker, images
from support.installed import Shelf
from support.target import FAILED, MIB, Target, filler, wait_for

SEED = 20261123
IN_DOUBT = "a load was interrupted in an earlier boot"
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


every_kind = pytest.mark.parametrize("powered", docker.KINDS, ids=str, indirect=True)
both_stores = pytest.mark.parametrize("powered", (docker.KINDS[0], docker.KINDS[2]), ids=str, indirect=True)


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


@every_kind
def test_a_power_cut_before_the_sync(powered):
    """Layers are registered, some without what their files had; an image that shares layers is loaded first, too."""
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
    daemon.run(["sync"])

    cut_after_load(daemon, target, shelf, one)
    # The very thing that must not be recorded is there: a load that succeeds and gives no whole image.
    daemon.docker("load", "--input", str(one.archive), check=False)
    assert truth(daemon, one.name) != right[one.name], "the power cut cost nothing, so the test shows nothing"
    output = target("load", "--flush", other.info)
    assert IN_DOUBT in output
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


def interrupted(target, installed, boot="another boot"):
    """Make it look as if the power had been cut before the record."""
    record, marker = target.record(installed), target.marker(installed)
    known = installed.information
    text = (f"boot={boot}\ninfo={installed.info}\nname={known.name}\nimage_id={known.image_id}\n"
            f"manifest_digest={known.manifest_digest}\nsource_digest={known.source_digest}\n")
    target.daemon.run(["sh", "-c", f'rm "{record}" && cat >"{marker}" <<END\n{text}END'])


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
    interrupted(target, installed)
    output = target("load", "--flush", installed.info, status=FAILED)
    assert "theirs" in output and "kept for" in output
    assert installed.archive.exists() and not target.exists(target.record(installed))
    state = target("status", "--json", installed.info, status=FAILED)
    assert '"state": "doubtful"' in state and '"interrupted": true' in state and "kept for" in state
    assert installed.name in daemon.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}").split()
    if user == "container":
        daemon.docker("rm", "theirs")
    else:
        daemon.docker("image", "rm", "theirs:1")
    target("load", "--flush", installed.info)
    assert daemon.run_image(installed.name) == shelf.output()
    assert '"error": null' in target("status", "--json", installed.info)


@both_stores
def test_an_image_that_was_not_recorded(powered):
    """Brought by hand, before the package was installed: proved where Docker can, else replaced; never out of use."""
    daemon, target, shelf = powered
    installed = shelf.install(shelf.image())
    daemon.docker("load", "--input", str(installed.archive))
    whole = target("load", installed.info)
    assert ("loaded in" in whole) == (daemon.kind.store == "containerd")
    assert target.exists(target.record(installed))

    damaged = shelf.install(shelf.image("damaged"), shelf.name("damaged"))
    daemon.docker("load", "--input", str(damaged.archive))
    damage(daemon, damaged.name)
    assert "loaded in" in target("load", damaged.info)
    assert daemon.run_image(damaged.name) == shelf.output("damaged")

    used = shelf.install(shelf.image("used"), shelf.name("used"))
    daemon.docker("load", "--input", str(used.archive))
    daemon.docker("create", "--network", "none", "--name", "user", used.name)
    output = target("load", "--flush", used.info)
    # Where its files can't be proved, it serves, but what could replace it stays.
    proved = daemon.kind.store == "classic"
    assert "loaded in" not in output and used.archive.exists() == (not proved)
    assert target.exists(target.record(used)) == proved
    assert daemon.docker("start", "--attach", "user") == shelf.output("used")


@both_stores
def test_a_process_that_was_killed_is_no_power_cut(powered):
    """In the same boot nothing is lost, so a sync and a record are all that is missing."""
    daemon, target, shelf = powered
    installed = shelf.install(shelf.image())
    target("load", installed.info)
    interrupted(target, installed, boot=daemon.run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout.strip())
    output = target("load", "--flush", installed.info)
    assert "loaded in" not in output and IN_DOUBT not in output
    assert target.exists(target.record(installed)) and not installed.archive.exists()


@pytest.mark.parametrize("powered", docker.KINDS[2:], ids=str, indirect=True)
def test_what_a_killed_load_has_left_in_containerd_is_removed(powered):
    """A lease of the killed load keeps its snapshots for a day; also without ctr, which can end it, nothing is recorded."""
    daemon, target, shelf = powered
    installed = shelf.install(shelf.image(extra=[filler(shelf, 12 * MIB) for _ in range(5)] + [files(shelf, 1)]))
    target("load", installed.info)
    right = truth(daemon, installed.name)
    daemon.docker("image", "rm", installed.name)
    daemon.run(["rm", "-r", str(daemon.data_root / "dockin")])
    ctr = f"ctr --address {daemon.containerd_socket} --namespace moby"

    def has_lease_and_layers():
        asked = f"{ctr} leases ls | grep gc.expire && [ $({ctr} snapshots ls | grep -c Committed) -gt 1 ]"
        return daemon.run(["sh", "-c", asked], check=False).returncode == 0

    for _ in range(10):
        run = daemon.popen(target.argv("load", installed.info), env=target.environment())
        wait_for(lambda run=run: has_lease_and_layers() or run.poll() is not None)
        daemon.cut_power()
        daemon.start()
        if has_lease_and_layers():
            break
    else:
        pytest.fail("no load could be killed between its first layers and its end")
    without = target.directory / "without"
    without.mkdir()
    for program in (target.directory / "bin").iterdir():
        if program.name != "ctr":
            (without / program.name).symlink_to(program)
    output = target("load", "--flush", installed.info, status=FAILED, PATH=str(without))
    assert "install 'ctr'" in output and installed.archive.exists() and not target.exists(target.record(installed))
    target("load", "--flush", installed.info)
    assert truth(daemon, installed.name) == right
    assert "gc.expire" not in daemon.run(["sh", "-c", f"{ctr} leases ls"]).stdout
