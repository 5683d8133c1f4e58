# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""A DL_DIR in which several users of the machine write: what one makes there costs the others no file."""

import os
import shutil
import stat
import subprocess
import tempfile
import time

from pathlib import Path

import pytest

from support import account, faults, images
from support.imagefiles import documents

pytestmark = pytest.mark.one_library


NOBODY = 65534
# What is printed where a directory can't be made one's own.
REFUSED = "may belong to another user"


@pytest.fixture
def builder():
    """Who builds: not root, who may remove everything."""
    if os.geteuid() != 0:
        pytest.skip("unavailable: what another user does to a build: only root can act as two users")
    return account.ordinary()


@pytest.fixture(params=[0o1777, 0o777], ids=["sticky", "open"])
def shared(request):
    """A DL_DIR as /tmp is, or one where everybody may remove everything."""
    folder = Path(tempfile.mkdtemp(prefix="dockin-test-"))
    folder.chmod(request.param)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def good(builder):
    """A directory of the builder's, with a file that another user would like to have overwritten."""
    folder = builder.temporary_folder("dockin-test-")
    (folder / "file").write_text("good")
    builder.own(folder / "file")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def served(faulty):
    content = images.image([images.filler_layer(f"shared-{number}", 200_000) for number in range(3)])
    faulty.add(content, "shared/app", "v1")
    return content


def begin(bench, server, user, content, folder):
    """Start a fetch as a user."""
    url, steps = f"docker://{server.address}/shared/app;tag=v1", [("become", user.uid), ("fetch",)]
    return bench.begin(url, *steps, pin=content.digest, environment={"HOME": "/nonexistent"}, DL_DIR=str(folder))


def partial(folder, content, user):
    return folder / f"docker_sha256-{content.hex}_linux-amd64.tar.part-{user.uid}"


def act(script, *arguments, **keywords):
    """Start Python code as nobody."""
    # The tests' own Python may be where nobody can't reach it.
    argv = ["/usr/bin/python3", "-c", script, *map(str, arguments)]
    return subprocess.Popen(argv, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/", **keywords)


def names(content):
    return ["image.tar", "scratch", "layout", f"sha256/{content.config.hex}", f"sha256/{content.layers[0].hex}"]


def intact(good):
    return {path.name: path.read_text() for path in good.iterdir()} == {"file": "good"}


# Arguments of each: the directory of a download, what links are to lead to, their names.
SQUATS = {
    "directory": """
import os, pathlib, sys
part, target, *names = map(pathlib.Path, sys.argv[1:])
os.umask(0)
(part / "sha256").mkdir(parents=True)
for name in names:
    (part / name).symlink_to(target)
""",
    # One in which only its owner can write, as a fetch of one's own leaves it.
    "closed": """
import os, pathlib, sys
part, target, *names = map(pathlib.Path, sys.argv[1:])
os.umask(0o022)
(part / "sha256").mkdir(parents=True)
for name in names:
    (part / name).symlink_to(target)
""",
    "link": "import os, sys; os.symlink(os.path.dirname(sys.argv[2]), sys.argv[1])",
    "file": "import sys; open(sys.argv[1], 'w')",
    # Once a fetch has looked at it, it is filled.
    "race": """
import contextlib, os, sys
part, target, *names = sys.argv[1:]
os.umask(0)
os.makedirs(part + "/sha256")
print("ready", flush=True)
while True:
    for name in names:
        with contextlib.suppress(OSError):
            os.symlink(target, part + "/" + name)
""",
}


@pytest.mark.parametrize("kind", SQUATS)
def test_directory_that_another_user_made_before(bench, faulty, served, builder, shared, good, kind):
    """It is made anew where it can be removed, and else refused; what links lead to is as it was."""
    part = partial(shared, served, builder)
    with act(SQUATS[kind], part, good / "file", *names(served), stdout=subprocess.PIPE) as squatter:
        if kind == "race":
            squatter.stdout.readline()
        else:
            assert squatter.wait(20) == 0
        outcome = begin(bench, faulty, builder, served, shared).wait()
        squatter.kill()
    assert intact(good)
    refused = outcome.error is not None
    # What is in the closed one, only its owner can remove. Where everybody may, it depends on who is quicker.
    assert refused == bool(shared.stat().st_mode & stat.S_ISVTX or kind == "closed") or kind == "race", outcome.text
    if refused:
        assert f"{part} {REFUSED}" in outcome.text
        assert "have its owner or root remove it" in outcome.text
    else:
        (made,) = shared.glob("*.tar")
        assert set(documents(made)) == set(served.blobs())


@pytest.mark.parametrize("fetched", [False, True])
def test_stamp_that_is_a_link(bench, faulty, served, builder, shared, good, fetched):
    """BitBake would make the file that it leads to."""
    stamp = partial(shared, served, builder).with_suffix(".done")
    if fetched:
        assert begin(bench, faulty, builder, served, shared).wait().error is None
        stamp.unlink()
    assert act(SQUATS["link"], stamp, good / "new" / "file").wait(20) == 0
    outcome = begin(bench, faulty, builder, served, shared).wait()
    assert intact(good)
    assert (outcome.error is None) == (not shared.stat().st_mode & stat.S_ISVTX), outcome.text


# Renames the directory of a download away and puts another one, or a link, in its place, until it is ended.
RACE = """
import contextlib, os, sys
part, target, *names = sys.argv[1:]
os.umask(0)
print("ready", flush=True)
while True:
    with contextlib.suppress(OSError):
        os.rename(part, f"{part}.{os.getpid()}")
        sys.exit("renamed")
    for name in names:
        with contextlib.suppress(OSError):
            os.symlink(target, part + "/" + name)
"""


def test_another_user_races_with_a_fetch(bench, faulty, served, builder, good):
    """In a directory as /tmp is nobody can get at what a fetch has begun."""
    folder = Path(tempfile.mkdtemp(prefix="dockin-test-"))
    try:
        folder.chmod(0o1777)
        part = partial(folder, served, builder)
        faulty.fail(served.layers[0].digest, faults.slow(1))
        with act(RACE, part, good / "file", *names(served), stdout=subprocess.PIPE) as racer:
            racer.stdout.readline()
            outcome = begin(bench, faulty, builder, served, folder).wait()
            assert racer.poll() is None, "it was renamed"
            racer.kill()
        assert outcome.error is None, outcome.text
        assert intact(good)
        (made,) = folder.glob("*.tar")
        assert set(documents(made)) == set(served.blobs())
        assert not list(folder.glob("*.part*"))
    finally:
        shutil.rmtree(folder)


def test_a_fetch_of_another_user_that_was_interrupted_is_no_obstacle(bench, faulty, served, builder, shared):
    """Each has a directory of his own, which nobody else can enter, and goes on with what he has."""
    other = account.Account("nobody", NOBODY, NOBODY)
    faulty.fail(served.layers[2].digest, faults.slow(30))
    job = begin(bench, faulty, other, served, shared)
    part = partial(shared, served, other)
    for _ in range(200):
        if (part / "sha256" / served.layers[0].hex).exists():
            break
        time.sleep(0.05)
    job.kill()
    job.wait()
    faulty.heal()
    assert part.stat().st_uid == NOBODY
    assert stat.S_IMODE(part.stat().st_mode) == 0o700
    for lock in shared.glob("*.lock"):
        lock.unlink()  # BitBake's, as for any fetcher: who did not make it can't take it
    outcome = begin(bench, faulty, builder, served, shared).wait()
    assert outcome.error is None, outcome.text
    assert part.exists()
    (made,) = shared.glob("*.tar")
    made.unlink()
    (shared / f"{made.name}.done").unlink()
    faulty.log.clear()
    outcome = begin(bench, faulty, other, served, shared).wait()
    assert outcome.error is None, outcome.text
    assert served.layers[0].digest not in faulty.log.blobs(), "it was there"
