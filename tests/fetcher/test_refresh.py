# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""scripts/dockin on a layer and real registries: what it finds, writes, commits and prints, and its exit codes."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dockin.image import reference
from dockin.recipe import source
from dockin.target import units
from support import faults, images, registry
from support.fixtures import LOGIN

SCRIPT = Path(__file__).resolve().parent.parent.parent / "scripts" / "dockin"
SECONDS = 100


class Layer:
    """A layer's checkout, and a user who runs scripts/dockin in it."""

    def __init__(self, directory, cache):
        self.root = directory / "meta-site"
        (self.root / "conf").mkdir(parents=True)
        (self.root / "conf" / "layer.conf").write_text("")
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": str(directory), "DOCKIN_TLS_VERIFY": "0", "PYTHONPYCACHEPREFIX": str(cache),
            "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_NAME": "Test", "GIT_AUTHOR_EMAIL": "test@example.com",
            "GIT_COMMITTER_NAME": "Test", "GIT_COMMITTER_EMAIL": "test@example.com",
        }

    def recipe(self, name, text):
        """Write a recipe or what belongs to it, and return its path."""
        path = self.root / "recipes-containers" / "some" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        return path

    def pinned(self, name, image, digest):
        """Write the usual recipe for an image."""
        return self.recipe(name, f'inherit dockin\nSRC_URI = "docker://{image}"\nSRC_URI[sha256sum] = "{digest[7:]}"\n')

    def git(self, *arguments):
        argv = ["git", "-C", str(self.root), *arguments]
        return subprocess.run(argv, env=self.environment, check=True, capture_output=True, text=True, timeout=60).stdout

    def versioned(self):
        """Put all there is under git."""
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message=start")

    def start(self, *arguments, **environment):
        return subprocess.Popen([sys.executable, str(SCRIPT), *arguments], cwd=self.root, text=True,
                                env={**self.environment, **environment}, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def run(self, *arguments, code=0, **environment):
        """Run it, expect an exit code, and return what it prints, standard error behind."""
        with self.start(*arguments, **environment) as process:
            out, err = process.communicate(timeout=SECONDS)
        assert code is None or process.returncode == code, out + err
        assert "Traceback" not in err
        return out + err

    def json(self, *arguments, code=0, **environment):
        with self.start(*arguments, "--json", **environment) as process:
            out, err = process.communicate(timeout=SECONDS)
        assert process.returncode == code, out + err
        return json.loads(out)


@pytest.fixture(scope="session")
def bytecode(tmp_path_factory):
    """Where the many runs keep compiled modules: compiling takes longer than the rest of a run."""
    return tmp_path_factory.mktemp("bytecode")


@pytest.fixture
def layer(tmp_path, bytecode):
    return Layer(tmp_path, bytecode)


def make(name, platforms=("linux/amd64", "linux/arm64/v8"), **keywords):
    """Return an index with an image of this name for each platform."""
    children = [images.image([images.layer({"etc/name": f"{name} {platform}"})], platform, **keywords)
                for platform in platforms]
    return images.index(children)


def statuses(document):
    return {f"{one['recipe']}:{one['tag']}": one["status"] for one in document["images"]}


def test_nothing_changed_costs_heads_only(server, layer):
    digest = server.push(make("same"), "refresh/same", "v1")
    paths = [layer.pinned(f"app{number}_1.0.bb", f"{server.address}/refresh/same;tag=v1", digest) for number in range(3)]
    before = [path.stat().st_mtime_ns for path in paths]
    with server.recording() as requests:
        text = layer.run("refresh")
        layer.run("check")
    assert [one.method for one in requests] == ["HEAD", "HEAD"]
    assert "3 images: 3 current" in text
    assert [path.stat().st_mtime_ns for path in paths] == before


def test_check_then_refresh(server, layer):
    old = server.push(make("before"), "refresh/moved", "v1")
    path = layer.pinned("app_1.0.bb", f"{server.address}/refresh/moved;tag=v1", old)
    text = path.read_text()
    new = server.push(make("after"), "refresh/moved", "v1")
    assert "stale" in layer.run("check", code=3)
    assert path.read_text() == text
    assert "updated" in layer.run("refresh")
    assert path.read_text() == text.replace(old[7:], new[7:])
    assert "current" in layer.run("check")


@pytest.mark.parametrize("top", [".", ".."])
def test_dry_run_is_a_patch_of_a_rename(server, layer, top):
    """Also where the layer is not the top of its git work tree, and for a recipe of which only the name changes."""
    old = server.push(make("1"), "patch/rename", "1.0.0")
    server.push(make("2"), "patch/rename", "1.0.1")
    folder = layer.root / "recipes some"
    folder.mkdir()
    recipe = f'require pin.inc\nSRC_URI = "docker://{server.address}/patch/rename;tag=${{PV}}"\n'
    (folder / "a_1.0.0.bb").write_text(recipe)
    (folder / "pin.inc").write_text(f'SRC_URI[sha256sum] = "{old[7:]}"\n')
    layer.pinned("b_1.0.0.bb", f"{server.address}/patch/rename;tag=${{PV}}", old)
    tree = layer.root / top
    for arguments in (["init", "--quiet"], ["add", str(layer.root)], ["commit", "--quiet", "--message=start"]):
        layer.git("-C", str(tree), *arguments)
    with layer.start("refresh", "--dry-run", "--upgrade", "patch") as process:
        diff = process.communicate(timeout=SECONDS)[0]
    assert "similarity index 100%" in diff
    (layer.root.parent / "patch").write_text(diff)
    layer.git("-C", str(tree), "apply", "--index", str(layer.root.parent / "patch"))
    applied = layer.git("write-tree")
    layer.git("reset", "--quiet", "--hard")
    layer.run("refresh", "--upgrade", "patch")
    layer.git("-C", str(tree), "add", "--all", str(layer.root))
    assert layer.git("write-tree") == applied


def test_dry_run_is_a_patch_of_what_a_run_writes(server, layer):
    old = server.push(make("1"), "refresh/patch", "v1")
    crlf = layer.recipe("a_1.0.bb", f'SRC_URI = "docker://{server.address}/refresh/patch;tag=v1;digest={old}"\r\n')
    plain = layer.pinned("b_1.0.bb", f"{server.address}/refresh/patch;tag=v1", old)
    layer.versioned()
    server.push(make("2"), "refresh/patch", "v1")
    with layer.start("refresh", "--dry-run") as process:
        process.stdout.reconfigure(newline="")
        diff = process.stdout.read()
        process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert layer.git("status", "--porcelain") == ""
    layer.run("refresh")
    written = [crlf.read_bytes(), plain.read_bytes()]
    layer.git("checkout", "--quiet", ".")
    patch = layer.root.parent / "patch"
    patch.write_bytes(diff.encode())
    layer.git("apply", str(patch))
    assert [crlf.read_bytes(), plain.read_bytes()] == written


def test_two_tags_of_one_repository(server, layer):
    """Both had one digest once; now they differ, and each gets its own."""
    old = server.push(make("one"), "refresh/tags", "a")
    path = layer.recipe("app_1.0.bb", f'''SRC_URI = "docker://{server.address}/refresh/tags;tag=a;name=a \\
    docker://{server.address}/refresh/tags;tag=b;name=b"
SRC_URI[a.sha256sum] = "{old[7:]}"
SRC_URI[b.sha256sum] = "{old[7:]}"
''')
    server.push(make("one"), "refresh/tags", "b")
    new = server.push(make("other"), "refresh/tags", "b")
    layer.run("refresh")
    assert f'[a.sha256sum] = "{old[7:]}"' in path.read_text()
    assert f'[b.sha256sum] = "{new[7:]}"' in path.read_text()


def test_one_pin_for_two_images_is_not_written(server, layer):
    old = server.push(make("one"), "refresh/shared", "1.0")
    server.push(make("one"), "refresh/shared", "2.0")
    layer.recipe("app_1.0.bb", "require app.inc\n")
    layer.recipe("app_2.0.bb", "require app.inc\n")
    include = layer.pinned("app.inc", f"{server.address}/refresh/shared;tag=${{PV}}", old)
    text = include.read_text()
    server.push(make("two"), "refresh/shared", "2.0")
    server.push(make("three"), "refresh/shared", "1.0")
    document = layer.json("refresh", code=1)
    assert {one["error"]["kind"] for one in document["images"]} == {"unsupported-expression"}
    assert include.read_text() == text


# Exit codes

@pytest.fixture
def mixed(server, layer):
    """Half of the registries are down; of the others, one image has moved."""
    old = server.push(make("mixed"), "refresh/mixed", "v1")
    good = layer.pinned("good_1.0.bb", f"{server.address}/refresh/mixed;tag=v1", old)
    bad = layer.pinned("bad_1.0.bb", f"{faults.closed_address()}/refresh/mixed;tag=v1", old)
    new = server.push(make("mixed too"), "refresh/mixed", "v1")
    return good, bad, old, new


def test_half_of_the_registries_are_down(layer, mixed):
    good, bad, old, new = mixed
    document = layer.json("check", code=4)
    assert statuses(document) == {"good:v1": "stale", "bad:v1": "error"}
    assert document["summary"]["errors"] == 1
    text = layer.run("refresh", code=4)
    assert "can't be reached" in text
    assert (new[7:] in good.read_text(), old[7:] in bad.read_text()) == (True, True)


def test_all_registries_are_down(layer):
    layer.pinned("bad_1.0.bb", f"{faults.closed_address()}/x/y;tag=v1", "sha256:" + "0" * 64)
    layer.run("check", code=1)
    layer.run("refresh", code=1)


def test_a_registry_that_hangs_does_not_hold_up_others(server, layer):
    digest = server.push(make("hang"), "refresh/hang", "v1")
    with faults.Silent() as silent:
        for number in range(4):
            layer.pinned(f"hang{number}_1.0.bb", f"{silent.address}/x/y{number};tag=v1", digest)
            layer.pinned(f"good{number}_1.0.bb", f"{server.address}/refresh/hang;tag=v1", digest)
        start = time.monotonic()
        document = layer.json("check", "--timeout", "1", code=4)
    assert time.monotonic() - start < 15
    assert (document["summary"]["current"], document["summary"]["errors"]) == (4, 4)


@pytest.mark.parametrize("command", [["check"], ["status", "--remote"]])
def test_interrupted(layer, command):
    """Ctrl-C does not wait for the registries that are asked."""
    with faults.Silent() as silent:
        for number in range(6):
            layer.pinned(f"app{number}_1.0.bb", f"{silent.address}/x/y{number};tag=v1", "sha256:" + "0" * 64)
        with layer.start(*command, "--timeout", "60") as process:
            silent.wait(SECONDS)
            start = time.monotonic()
            process.send_signal(signal.SIGINT)
            err = process.communicate(timeout=SECONDS)[1]
    assert time.monotonic() - start < 10
    assert (process.returncode, err) == (-signal.SIGINT, "")


def test_pin_that_is_gone(own_server, layer):
    old = own_server.push(make("lost"), "refresh/lost", "v1")
    path = layer.pinned("app_1.0.bb", f"{own_server.address}/refresh/lost;tag=v1", old)
    new = own_server.push(make("found"), "refresh/lost", "v1")
    own_server.delete_manifest("refresh/lost", old)
    document = layer.json("check", code=5)
    assert (document["images"][0]["status"], document["images"][0]["pin_exists"]) == ("stale", False)
    assert "gone" in layer.run("refresh")
    assert new[7:] in path.read_text()
    own_server.delete_manifest("refresh/lost", new)
    for command in ("check", "refresh"):
        assert statuses(layer.json(command, code=5)) == {"app:v1": "pin-lost"}


def test_tag_that_is_gone(server, layer):
    digest = server.push(make("tagless"), "refresh/tagless")
    layer.pinned("app_1.0.bb", f"{server.address}/refresh/tagless;tag=v1", digest)
    document = layer.json("refresh", code=1)
    assert (document["images"][0]["status"], document["images"][0]["pin_exists"]) == ("tag-gone", True)


@pytest.mark.parametrize(("arguments", "words"), [
    (["refresh", "--check", "--commit"], "not allowed"),
    (["refresh", "--json", "--markdown"], "not allowed"),
    (["refresh", "--jobs", "0"], "whole number"),
    (["refresh", "--timeout", "soon"], "seconds"),
    (["refresh", "--min-age", "3"], "such as 3d"),
    (["refresh", "--upgrade", "all"], "invalid choice"),
    (["refresh", "--tag-regex", "x"], "needs --upgrade"),
    (["refresh", "--upgrade", "major", "--tag-regex", "("], "regular expression"),
    (["refresh", "--index-changes", "maybe"], "invalid choice"),
    (["refresh", "--platform", "beos/68k"], "platform"),
    (["refresh", "--output", "x"], "needs --json"),
    (["refresh", "--signoff"], "needs --commit"),
    (["refresh", "--nonsense"], "unrecognized"),
    (["check", "--commit"], "for refresh"),
    ([], "required"),
])
def test_wrong_usage(layer, arguments, words):
    assert words in layer.run(*arguments, code=2)


@pytest.mark.parametrize(("arguments", "environment", "words"), [
    (["refresh", "none"], {}, "There is no 'none'"),
    (["refresh", "conf/layer.conf"], {}, "Not a recipe"),
    (["check", "--authfile", "none.json"], {}, "No login file none.json"),
    (["status", "--authfile", "none.json"], {}, "No login file none.json"),
    (["check"], {"DOCKIN_RESOLVER": "magic"}, "expected auto, http, skopeo"),
    (["check"], {"DOCKIN_REGISTRIES_CONF": "/none/registries.conf"}, "/none/registries.conf"),
    (["status", "--remote"], {"DOCKIN_REGISTRIES_CONF": "/none/registries.conf"}, "/none/registries.conf"),
    (["check"], {"FETCHCMD_docker": "'skopeo"}, "No closing quotation"),
    (["refresh", "--json", "--output", "none/report.json"], {}, "Can't write none/report.json"),
])
def test_errors(layer, arguments, environment, words):
    assert words in layer.run(*arguments, code=1, **environment)


def test_no_images_is_fine(layer):
    assert "0 images" in layer.run("check")


# Output

KEYS = ["arch", "error", "file", "kind", "layer", "line", "new", "old", "pin_exists", "platforms_gone", "recipe",
        "registry", "repository", "resolver", "retagged", "status", "tag", "uri", "variant", "verified"]


def test_json(server, layer):
    old = server.push(make("json"), "refresh/json", "1.2.3")
    layer.pinned("app_1.2.3.bb", f"{server.address}/refresh/json;tag=${{PV}}", old)
    layer.recipe("loose_1.0.bb", f'SRC_URI = "docker://{server.address}/refresh/json;tag=1.2.3"\n')
    new = server.push(make("json too"), "refresh/json", "1.2.3")
    document = layer.json("check", "--platform", "linux/arm64", code=3)
    assert (document["schema"], document["tool"], document["mode"]) == (1, "meta-dockin", "check")
    assert document["summary"] == {"images": 2, "stale": 1, "updated": 0, "index_only": 0, "current": 0, "held": 0,
                                   "lost": 0, "errors": 0, "unpinned": 1}
    first = document["images"][0]
    assert sorted(first) == KEYS
    assert (first["recipe"], first["layer"], first["file"], first["line"]) == (
        "app", "meta-site", "recipes-containers/some/app_1.2.3.bb", 2)
    assert (first["registry"], first["repository"], first["tag"]) == (server.address, "refresh/json", "1.2.3")
    assert (first["arch"], first["variant"], first["kind"], first["resolver"]) == ("arm64", "v8", "index", "http-head")
    assert (first["old"]["index"], first["new"]["index"], first["retagged"]) == (old, new, True)
    assert first["old"]["platform"] == make("json").manifest("linux/arm64/v8").digest
    assert first["new"]["platform"] == make("json too").manifest("linux/arm64/v8").digest
    assert document["images"][1]["status"] == "unpinned"
    assert document["network"]["requests"] == 4
    assert layer.json("check", "--platform", "linux/arm64", code=3) == document


@pytest.mark.parametrize("command", [["check"], ["refresh", "--dry-run"], ["status"]])
def test_output_is_utf_8_whatever_the_locale(server, layer, command):
    """A diff is of the files' bytes."""
    digest = server.push(make("locale"), "refresh/locale")
    text = f'SUMMARY = "caf\u00e9"\nSRC_URI = "docker://{server.address}/refresh/locale;tag=v1 docker://\u00e9;name=e"\n'
    layer.recipe("app_1.0.bb", f'{text}SRC_URI[sha256sum] = "{digest[7:]}"\n')
    server.push(make("locale too"), "refresh/locale", "v1")
    with layer.start(*command, PYTHONIOENCODING="ascii:strict") as process:
        out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, "Traceback" in err) == (0 if command == ["status"] else 4, False)
    assert "\u00e9" in out


def test_output_to_a_file(server, layer):
    digest = server.push(make("file"), "refresh/file", "v1")
    layer.pinned("app_1.0.bb", f"{server.address}/refresh/file;tag=v1", digest)
    text = layer.run("check", "--markdown", "--output", "report.md")
    assert "1 image: 1 current" in text
    assert "1 of 1 images need no change" in (layer.root / "report.md").read_text()


def test_markdown(layer, mixed):
    good, bad, old, new = mixed
    text = layer.run("refresh", "--markdown", code=4)
    assert f"| `{old[7:14]}` | `{new[7:14]}` |" in text
    assert "### Not refreshed" in text
    assert "can't be reached" in text


def test_words_of_a_registry_are_no_markup(faulty, layer):
    layer.pinned("app_1.0.bb", f"{faulty.address}/x/y;tag=v1", "sha256:" + "0" * 64)
    words = json.dumps({"errors": [{"message": "`<b>| @all [x](http://x)\x1b[31m"}]}).encode()
    faulty.fail("/manifests/", faults.status(404, {"Content-Type": "application/json"}, words))
    text = layer.run("check", "--markdown", code=5)
    row = next(line for line in text.splitlines() if line.startswith("| `app`"))
    assert "@all" in row and "\x1b" not in text
    assert row.count("`") == 6 and row.count("|") - row.count("\\|") == 4


def test_no_secret_gets_out(secure_server, private_ca, layer, tmp_path):
    old = secure_server.push(make("secret"), "refresh/secret", "v1")
    layer.pinned("app_1.0.bb", f"{secure_server.address}/refresh/secret;tag=v1", old)
    layer.pinned("other_1.0.bb", f"{secure_server.address}/refresh/none;tag=v1", old)
    secure_server.push(make("secret too"), "refresh/secret", "v1")
    authfile = tmp_path / "auth.json"
    authfile.write_text(LOGIN.auth_json(secure_server.address))
    certs = str(private_ca.cert_dir(tmp_path / "certs"))
    environment = {"DOCKIN_TLS_VERIFY": "1", "DOCKIN_CERT_DIR": certs}
    text = layer.run("refresh", "--authfile", str(authfile), code=5, **environment)
    wrong = tmp_path / "wrong.json"
    wrong.write_text(registry.Login(LOGIN.user, LOGIN.password + "x").auth_json(secure_server.address))
    text += layer.run("check", code=1, DOCKIN_AUTHFILE=str(wrong), **environment)
    for login in (authfile, wrong):
        token = json.loads(login.read_text())["auths"][secure_server.address]["auth"]
        assert token not in text
    assert LOGIN.password not in text
    assert str(wrong) in text


# Choices

def test_only_and_exclude(server, layer):
    digests = {name: server.push(make(name), f"choice/{name}", "v1") for name in ("one", "two", "three")}
    paths = {name: layer.pinned(f"{name}_1.0.bb", f"{server.address}/choice/{name};tag=v1", digest)
             for name, digest in digests.items()}
    for name in digests:
        server.push(make(name + " new"), f"choice/{name}", "v1")
    layer.run("refresh", "--only", "*/choice/t*", "--exclude", "*/three:v1")
    assert [name for name, path in paths.items() if digests[name][7:] not in path.read_text()] == ["two"]


def test_pin_unpinned(server, layer):
    digest = server.push(make("loose"), "refresh/loose", "v1")
    path = layer.recipe("app_1.0.bb", f'SRC_URI = "docker://{server.address}/refresh/loose;tag=v1"\n# end\n')
    layer.run("check")
    layer.run("check", "--pin-unpinned", code=3)
    layer.run("refresh")
    assert "sha256sum" not in path.read_text()
    layer.run("refresh", "--pin-unpinned")
    lines = path.read_text().splitlines()
    assert lines[1:] == [f'SRC_URI[sha256sum] = "{digest[7:]}"', "# end"]
    assert "1 current" in layer.run("check")


def test_index_that_changes_for_others_only(server, layer):
    arm, first, second = (make(name).children for name in ("arm", "first", "second"))
    old = server.push(images.index([first[0], arm[1]]), "refresh/index", "v1")
    path = layer.pinned("app_1.0.bb", f"{server.address}/refresh/index;tag=v1", old)
    new = server.push(images.index([second[0], arm[1]]), "refresh/index", "v1")
    assert statuses(layer.json("check", "--platform", "linux/arm64")) == {"app:v1": "index-only"}
    assert statuses(layer.json("check", "--platform", "linux/amd64", code=3)) == {"app:v1": "stale"}
    assert statuses(layer.json("check", code=3)) == {"app:v1": "stale"}
    layer.run("refresh", "--platform", "linux/arm64")
    assert old[7:] in path.read_text()
    layer.run("refresh", "--platform", "linux/arm64", "--index-changes", "update")
    assert new[7:] in path.read_text()


def test_index_that_only_grows(server, layer):
    children = make("grows", ("linux/amd64", "linux/arm64/v8", "linux/s390x")).children
    old = server.push(images.index(children[:2]), "refresh/grows", "v1")
    layer.pinned("app_1.0.bb", f"{server.address}/refresh/grows;tag=v1", old)
    server.push(images.index(children, attestations=True), "refresh/grows", "v1")
    assert statuses(layer.json("check")) == {"app:v1": "index-only"}


def test_a_manifests_pin_becomes_that_of_the_index(server, layer):
    content = make("of one platform")
    server.push(content, "refresh/manifest", "v1")
    text = f"{server.address}/refresh/manifest;tag=v1;platform=linux/arm64"
    path = layer.pinned("app_1.0.bb", text, content.manifest("linux/arm64/v8").digest)
    assert statuses(layer.json("check")) == {"app:v1": "index-only"}
    new = server.push(make("of one platform, again"), "refresh/manifest", "v1")
    layer.run("refresh")
    assert new[7:] in path.read_text()


def test_digest_that_the_registry_has_not(faulty, layer, server):
    """A proxy that answers HEAD with another's digest: nothing of it gets into a recipe."""
    content = make("proxy")
    old = faulty.add(content, "proxy/app", "v1")
    path = layer.pinned("app_1.0.bb", f"{faulty.address}/proxy/app;tag=v1", old)
    text = path.read_text()
    headers = {"Content-Type": content.media_type, "Docker-Content-Digest": "sha256:" + "1" * 64}
    faulty.fail("/manifests/v1", faults.status(200, headers))
    for arguments in ([], ["--index-changes", "update"]):
        document = layer.json("refresh", *arguments, code=1)
        assert document["images"][0]["error"]["kind"] == "content"
    assert path.read_text() == text


def test_platform_that_is_missing_now(server, layer):
    old = server.push(make("leaves"), "refresh/leaves", "v1")
    layer.pinned("app_1.0.bb", f"{server.address}/refresh/leaves;tag=v1;platform=linux/arm64", old)
    server.push(make("left", ("linux/amd64",)), "refresh/leaves", "v1")
    document = layer.json("refresh", code=1)
    assert document["images"][0]["error"]["kind"] == "arch-missing"


@pytest.mark.parametrize(("before", "after", "gone"), [
    ("linux/amd64 linux/arm64/v8 linux/arm/v7", "linux/amd64 linux/s390x", ["linux/arm/v7", "linux/arm64/v8"]),
    ("linux/amd64 linux/arm64/v8", "linux/arm64/v8", ["linux/amd64"]),
    ("linux/amd64 linux/arm64", "linux/arm64/v8 linux/amd64", []),
    # one image, without an index
    ("linux/amd64 linux/arm/v7", "=linux/arm/v7", ["linux/amd64"]),
    ("=linux/arm/v7", "linux/amd64", ["linux/arm/v7"]),
    ("=linux/amd64", "linux/amd64 linux/arm64/v8", []),
    ("=linux/amd64", "=linux/amd64", []),
    ("=linux/amd64", "=linux/arm64", ["linux/amd64"]),
    ("=linux/arm64", "=linux/arm64/v8", []),
])
@pytest.mark.parametrize("arguments", [[], ["--index-changes", "update"], ["--upgrade", "patch"]], ids=str)
def test_platforms_that_are_gone(server, layer, before, after, gone, arguments):
    """Without a platform that matters, as a recipe for all machines has none: it is said which of them lose the image."""
    def push(name, words, tag):
        single = words.startswith("=")
        made = make(name, words.lstrip("=").split())
        return server.push(made.children[0] if single else made, repository, tag)
    repository = f"refresh/gone-{hashlib.sha256(repr((before, after, arguments)).encode()).hexdigest()[:8]}"
    old = push("old", before, "1.0.0")
    path = layer.pinned("app_1.0.bb", f"{server.address}/{repository};tag=1.0.0", old)
    new = push("new", after, "1.0.1" if "--upgrade" in arguments else "1.0.0")
    [found] = layer.json("check", *arguments, code=3)["images"]
    assert (found["platforms_gone"], found["new"]["index"], found["verified"]) == (gone, new, True)
    said = f", no longer built for {', '.join(gone)} ("
    assert (said in layer.run("check", *arguments, code=3)) == bool(gone)
    assert ("no longer built for" in layer.run("check", "--markdown", *arguments, code=3)) == bool(gone)
    layer.run("refresh", *arguments)
    assert new[7:] in path.read_text()


def test_platforms_of_what_can_not_be_read_any_more(faulty, layer):
    """The old index is there, but not for reading: that is no reason against the new one."""
    old, new = faulty.add(make("shy old"), "shy/app", "1.0.0"), faulty.add(make("shy new"), "shy/app", "1.0.1")
    path = layer.pinned("app_1.0.bb", f"{faulty.address}/shy/app;tag=1.0.0", old)

    def shy(handler, answer):
        handler.send(answer if handler.command == "HEAD" else faults.Answer(403, {}, b""))
    faulty.fail(f"/manifests/{old}", shy)
    layer.run("refresh", "--upgrade", "patch")
    assert new[7:] in path.read_text()


def test_min_age(server, layer):
    old = server.push(make("age"), "refresh/age", "v1")
    path = layer.pinned("app_1.0.bb", f"{server.address}/refresh/age;tag=v1", old)
    made = time.strftime("%Y-%m-%dT%H:%M:%S.123456789Z", time.gmtime(time.time() - 7200))
    server.push(make("young", config={"created": made}), "refresh/age", "v1")
    document = layer.json("refresh", "--min-age", "3d")
    assert (document["images"][0]["status"], document["images"][0]["new"]["created"]) == ("held", made)
    assert old[7:] in path.read_text()
    assert statuses(layer.json("refresh", "--min-age", "1h")) == {"app:v1": "updated"}


def test_image_without_an_age_is_old_enough(server, layer):
    old = server.push(make("timeless"), "refresh/timeless", "v1")
    layer.pinned("app_1.0.bb", f"{server.address}/refresh/timeless;tag=v1", old)
    server.push(make("epoch", config={"created": "1970-01-01T00:00:00Z"}), "refresh/timeless", "v1")
    assert statuses(layer.json("refresh", "--min-age", "3d")) == {"app:v1": "updated"}


# Behind each, without a zone, which RFC 3339 wants.
@pytest.mark.parametrize("separator", ["T", "\ud800", "\x1b[31m", "\0", "\x9b", "\u202e", " "], ids=ascii)
def test_what_is_no_time_stops_nothing(server, layer, separator):
    """One image of a recipe can't keep the others from being refreshed."""
    today = time.strftime("%Y-%m-%d", time.gmtime())
    for name, made in (("good", {}), ("evil", {"created": f"{today}{separator}00:00:00"})):
        old = server.push(make(f"{name} {ascii(separator)}"), f"refresh/{name}", "v1")
        layer.pinned(f"{name}_1.0.bb", f"{server.address}/refresh/{name};tag=v1", old)
        server.push(make(f"{name} {ascii(separator)} new", config=made), f"refresh/{name}", "v1")
    report = layer.root / "report.md"
    # Half of a surrogate pair is no JSON that all programs read alike.
    updated, code = (1, 4) if separator == "\ud800" else (2, 0)
    text = layer.run("refresh", "--min-age", "3d", "--markdown", "--output", str(report), code=code)
    for shown in (text, report.read_text()):
        assert all(line.isprintable() for line in shown.split("\n"))
    assert f"{updated} updated" in text and "`good`" in report.read_text()


@pytest.mark.parametrize(("level", "regex", "expected"), [
    ("patch", "", "1.36.2"), ("minor", "", "1.37.0"), ("major", "", "2.0.0"), ("major", r"^1\.", "1.37.0"),
    ("patch", "^9", "1.36.1"),
])
def test_upgrade(server, layer, level, regex, expected):
    repository = f"upgrade/{level}{len(regex)}"
    old = server.push(make("u 1.36.1"), repository, "1.36.1")
    for tag in ("1.36.0", "1.36.2", "1.36.3-rc1", "1.36.9-musl", "1.37.0", "2.0.0", "2.1", "latest"):
        server.push(make(f"u {tag}"), repository, tag)
    path = layer.recipe("app_1.0.bb", f'SRC_URI = "docker://{server.address}/{repository};tag=1.36.1;digest={old}"\n')
    layer.run("refresh", "--upgrade", level, *(["--tag-regex", regex] if regex else []))
    new = server.tag_digest(repository, expected)
    assert path.read_text() == f'SRC_URI = "docker://{server.address}/{repository};tag={expected};digest={new}"\n'


def test_upgrade_to_the_newest_that_is_old_enough(server, layer):
    """A project with a release a day: the newest is always too young, and so is never taken."""
    old = server.push(make("age 1"), "upgrade/age", "1.0.0")
    young = {"config": {"created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 7200))}}
    moved = server.push(make("age 1 again"), "upgrade/age", "1.0.0")
    server.push(make("age 3", **young), "upgrade/age", "1.0.3")
    path = layer.pinned("app_1.0.bb", f"{server.address}/upgrade/age;tag=1.0.0", old)
    arguments = ("refresh", "--upgrade", "patch", "--min-age", "3d")
    assert "1.0.3 is passed over: created" in layer.run(*arguments)
    assert "tag=1.0.0" in path.read_text() and moved[7:] in path.read_text()
    wanted = server.push(make("age 2"), "upgrade/age", "1.0.2")
    server.push(make("age 4", ("linux/s390x",)), "upgrade/age", "1.0.4")
    layer.run(*arguments, "--platform", "linux/amd64")
    assert "tag=1.0.2" in path.read_text() and wanted[7:] in path.read_text()


@pytest.mark.parametrize(("prefix", "suffix"), [("", ""), ("v", ""), ("", "-alpine")])
def test_upgrade_of_a_version_in_the_file_name(server, layer, prefix, suffix):
    old = server.push(make("v1"), "upgrade/name", f"{prefix}1.0.0{suffix}")
    new = server.push(make("v2"), "upgrade/name", f"{prefix}1.0.1{suffix}")
    path = layer.pinned("app_1.0.0.bb", f"{server.address}/upgrade/name;tag={prefix}${{PV}}{suffix}", old)
    text = path.read_text()
    layer.versioned()
    layer.run("refresh", "--upgrade", "patch", "--commit")
    assert not path.exists()
    assert path.with_name("app_1.0.1.bb").read_text() == text.replace(old[7:], new[7:])
    assert layer.git("log", "-1", "--format=%s").strip() == f"app: upgrade {prefix}1.0.0{suffix} -> {prefix}1.0.1{suffix}"
    assert layer.git("status", "--porcelain") == ""


@pytest.mark.parametrize("tied", ["app_1.0.0.bbappend", "app-1.0.0/file.txt", "app_1.0.1.bb"])
def test_upgrade_of_what_else_has_the_version(server, layer, tied):
    old = server.push(make("v1"), "upgrade/tied", "1.0.0")
    server.push(make("v2"), "upgrade/tied", "1.0.1")
    path = layer.pinned("app_1.0.0.bb", f"{server.address}/upgrade/tied;tag=${{PV}}", old)
    text = path.read_text()
    other = layer.recipe(tied, "# mine\n")
    moved = server.push(make("v1 again"), "upgrade/tied", "1.0.0")
    document = layer.json("refresh", "--upgrade", "patch")
    [note] = document["notes"]
    assert "1.0.1 is there, but not taken" in note and os.path.basename(tied.partition("/")[0]) in note
    # It has its tag's new digest all the same.
    assert (path.read_text(), other.read_text()) == (text.replace(old[7:], moved[7:]), "# mine\n")


def test_upgrade_that_would_leave_an_image_behind(server, layer):
    old = server.push(make("v1"), "upgrade/pair", "1.0.0")
    server.push(make("v2"), "upgrade/pair", "1.0.1")
    server.push(make("v1"), "upgrade/other", "1.0.0")
    path = layer.recipe("app_1.0.0.bb", f'''SRC_URI = "docker://{server.address}/upgrade/pair;tag=${{PV}};name=a \\
    docker://{server.address}/upgrade/other;tag=${{PV}};name=b"
SRC_URI[a.sha256sum] = "{old[7:]}"
SRC_URI[b.sha256sum] = "{old[7:]}"
''')
    text = path.read_text()
    assert "give each image its own tag" in layer.run("refresh", "--upgrade", "patch")
    assert path.read_text() == text


# Commits

def test_a_commit_for_each_recipe(server, layer):
    old = server.push(make("commit"), "refresh/commit", "1.36.1")
    for name in ("one", "two"):
        layer.pinned(f"{name}_1.0.bb", f"{server.address}/refresh/commit;tag=1.36.1", old)
    layer.versioned()
    (layer.root / "mine.txt").write_text("staged, and none of its business")
    layer.git("add", "mine.txt")
    new = server.push(make("commit too"), "refresh/commit", "1.36.1")
    layer.run("refresh", "--commit", "--signoff", "recipes-containers")
    subjects = layer.git("log", "-2", "--format=%s").splitlines()
    assert subjects == [f"{name}: refresh 1.36.1 digest {old[7:14]} -> {new[7:14]}" for name in ("two", "one")]
    assert "Signed-off-by: Test <test@example.com>" in layer.git("log", "-1", "--format=%b")
    assert layer.git("show", "--stat", "--format=", "HEAD").count("|") == 1
    assert layer.git("status", "--porcelain").strip() == "A  mine.txt"
    head = layer.git("rev-parse", "HEAD")
    layer.run("refresh", "--commit")
    assert layer.git("rev-parse", "HEAD") == head


def test_recipes_that_share_a_pin_are_in_one_commit(server, layer):
    """Never the new tag of one beside the old pin of both."""
    old = server.push(make("pair"), "refresh/pair", "1.0.0")
    server.push(make("pair too"), "refresh/pair", "1.0.1")
    for name in ("one", "two"):
        layer.recipe(f"{name}_1.bb", f'require pin.inc\nSRC_URI = "docker://{server.address}/refresh/pair;tag=1.0.0"\n')
    layer.recipe("pin.inc", f'SRC_URI[sha256sum] = "{old[7:]}"\n')
    layer.pinned("three_1.bb", f"{server.address}/refresh/pair;tag=1.0.0", old)
    layer.versioned()
    layer.run("refresh", "--upgrade", "patch", "--commit")
    assert layer.git("log", "-2", "--format=%s").splitlines() == [
        "three: upgrade 1.0.0 -> 1.0.1", "docker images: upgrade 1.0.0 -> 1.0.1"]
    assert [layer.git("show", "--stat", "--format=", commit).count("|") for commit in ("HEAD", "HEAD~")] == [1, 3]


def test_one_commit_for_all(server, layer):
    old = server.push(make("all"), "refresh/all", "v1")
    for name in ("one", "two"):
        layer.pinned(f"{name}_1.0.bb", f"{server.address}/refresh/all;tag=v1", old)
    layer.versioned()
    server.push(make("all too"), "refresh/all", "v1")
    layer.run("refresh", "--commit=all")
    assert layer.git("rev-list", "--count", "HEAD").strip() == "2"
    assert layer.git("show", "--stat", "--format=", "HEAD").count("|") == 2


def test_commit_does_not_take_changes_of_the_user(server, layer):
    old = server.push(make("dirty"), "refresh/dirty", "v1")
    path = layer.pinned("app_1.0.bb", f"{server.address}/refresh/dirty;tag=v1", old)
    layer.versioned()
    path.write_text(path.read_text() + "# mine\n")
    text = path.read_text()
    server.push(make("dirty too"), "refresh/dirty", "v1")
    assert "not committed yet" in layer.run("refresh", "--commit", code=1)
    assert path.read_text() == text
    assert layer.git("rev-list", "--count", "HEAD").strip() == "1"


def ignored(layer):
    (layer.root / ".gitignore").write_text("app_*.bb\n")
    layer.versioned()


def untracked(layer):
    layer.versioned()
    layer.git("rm", "--cached", "--quiet", "recipes-containers/some/app_1.0.0.bb")
    layer.git("commit", "--quiet", "--message=without")


def merging(layer):
    layer.versioned()
    layer.git("checkout", "--quiet", "-b", "side")
    layer.git("commit", "--quiet", "--allow-empty", "--message=side")
    layer.git("checkout", "--quiet", "main")
    layer.git("merge", "--quiet", "--no-ff", "--no-commit", "side")


def picking(layer):
    layer.versioned()
    layer.git("commit", "--quiet", "--allow-empty", "--message=picked")
    picked = layer.git("rev-parse", "HEAD").strip()
    (layer.root / ".git" / "CHERRY_PICK_HEAD").write_text(f"{picked}\n")


def nobody(layer):
    layer.versioned()
    for who in ("AUTHOR", "COMMITTER"):
        layer.environment[f"GIT_{who}_NAME"] = ""


def new_name_ignored(layer):
    (layer.root / ".gitignore").write_text("app_1.0.1.bb\n")
    layer.versioned()


@pytest.mark.parametrize(("state", "words"), [
    (ignored, "git does not track"), (untracked, "git does not track"), (merging, "MERGE_HEAD"),
    (picking, "CHERRY_PICK_HEAD"), (nobody, "ident name"), (new_name_ignored, "ignore one of the new names"),
])
def test_what_can_not_be_committed_is_not_written(server, layer, state, words):
    old = server.push(make("state"), "refresh/state", "1.0.0")
    path = layer.pinned("app_1.0.0.bb", f"{server.address}/refresh/state;tag=${{PV}}", old)
    server.push(make("state too"), "refresh/state", "1.0.1")
    text = path.read_text()
    state(layer)
    assert words in layer.run("refresh", "--upgrade", "patch", "--commit", code=1)
    assert path.read_text() == text
    assert sorted(os.listdir(path.parent)) == ["app_1.0.0.bb"]


def test_a_hook_that_refuses_without_a_word(server, layer):
    old = server.push(make("hook"), "refresh/hook", "1.0.0")
    server.push(make("hook too"), "refresh/hook", "1.0.1")
    layer.pinned("app_1.0.0.bb", f"{server.address}/refresh/hook;tag=${{PV}}", old)
    layer.versioned()
    hook = layer.root / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    assert "exit code 1 and no words" in layer.run("refresh", "--upgrade", "patch", "--commit", code=1)
    assert layer.git("diff", "--cached", "--name-only") == ""
    assert len(layer.git("status", "--porcelain").splitlines()) == 2


def test_commit_of_odd_names_and_from_a_hook(server, layer):
    """A name that git would take for a pattern, and the variables that git gives to hooks of another repository."""
    old = server.push(make("odd"), "refresh/odd", "v1")
    paths = [layer.pinned(f"{name}_1.0.bb", f"{server.address}/refresh/odd;tag=v1", old) for name in ("a[b]", "ab")]
    layer.versioned()
    paths[1].write_text(paths[1].read_text() + "# mine\n")
    server.push(make("odd too"), "refresh/odd", "v1")
    other = layer.root.parent / "other"
    variables = {"GIT_DIR": str(other), "GIT_INDEX_FILE": str(other / "index"), "GIT_WORK_TREE": str(other)}
    layer.run("refresh", "--commit", str(paths[0]), **variables)
    assert layer.git("show", "--name-only", "--format=", "HEAD").split() == ["recipes-containers/some/a[b]_1.0.bb"]
    assert layer.git("status", "--porcelain").split() == ["M", "recipes-containers/some/ab_1.0.bb"]


def test_commit_without_git(server, layer):
    old = server.push(make("nogit"), "refresh/nogit", "v1")
    layer.pinned("app_1.0.bb", f"{server.address}/refresh/nogit;tag=v1", old)
    server.push(make("nogit too"), "refresh/nogit", "v1")
    assert "not a git repository" in layer.run("refresh", "--commit", code=1)


# Files

def test_file_that_can_not_be_written(server, layer):
    old = server.push(make("ro"), "refresh/ro", "v1")
    image = f"{server.address}/refresh/ro;tag=v1"
    good = layer.pinned("good_1.0.bb", image, old)
    text = f'SRC_URI = "docker://{image}"\nSRC_URI[sha256sum] = "{old[7:]}"\n' + "#\n" * 100_000
    bad = layer.recipe("bad_1.0.bb", text)
    server.push(make("ro too"), "refresh/ro", "v1")
    # A file system that is full, for files of more than 100 kB.
    limited = ["prlimit", "--fsize=100000", sys.executable, str(SCRIPT), "refresh", "--json"]
    done = subprocess.run(limited, cwd=layer.root, env=layer.environment, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 4, done.stdout + done.stderr
    assert {one["recipe"]: one["status"] for one in json.loads(done.stdout)["images"]} == {"good": "updated", "bad": "error"}
    assert (old[7:] in good.read_text(), bad.read_text()) == (False, text)
    assert sorted(os.listdir(bad.parent)) == ["bad_1.0.bb", "good_1.0.bb"]


@pytest.mark.parametrize("number", range(3))
def test_killed_while_it_writes(server, layer, number):
    old = server.push(make("kill"), "refresh/kill", "v1")
    text = f'SRC_URI = "docker://{server.address}/refresh/kill;tag=v1"\nSRC_URI[sha256sum] = "{old[7:]}"\n' + "#\n" * 50_000
    paths = [layer.recipe(f"app{index}_1.0.bb", text) for index in range(30)]
    new = server.push(make("kill too"), "refresh/kill", "v1")
    with layer.start("refresh") as process:
        deadline = time.monotonic() + SECONDS
        while paths[0].read_text() == text and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(random.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=20)
    assert {path.read_text() for path in paths} <= {text, text.replace(old[7:], new[7:])}
    layer.run("refresh")
    assert {path.read_text() for path in paths} == {text.replace(old[7:], new[7:])}
    assert len(os.listdir(paths[0].parent)) == 30


def test_status(server, layer):
    old = server.push(make("status"), "refresh/status", "v1")
    layer.pinned("app_1.0.bb", f"{server.address}/refresh/status;tag=v1", old)
    assert old[7:14] in layer.run("status")
    server.push(make("status too"), "refresh/status", "v1")
    assert "moved" in layer.run("status", "--remote")
    assert layer.json("status")["images"][0]["recipe"] == "app"


def test_status_of_what_is_named(server, layer):
    old = server.push(make("named"), "refresh/named", "v1")
    for name in ("one", "two"):
        layer.recipe(f"{name}_1.bb", f'require pin.inc\nSRC_URI = "docker://{server.address}/refresh/named;tag=v1"\n')
    layer.recipe("pin.inc", f'SRC_URI[sha256sum] = "{old[7:]}"\n')
    path = "recipes-containers/some/one_1.bb"
    layer.run("status", "--check", path)
    changed = images.index([make("named").manifest("linux/amd64"), make("named new").manifest("linux/arm64/v8")])
    server.push(changed, "refresh/named", "v1")
    layer.run("status", "--remote", path)
    document = layer.json("status", "--check", "--platform", "linux/arm64", "--jobs", "1", "--timeout", "20", path, code=3)
    assert [(one["recipe"], one["platform"]) for one in document["images"]] == [("one", "linux/arm64/v8")]
    layer.run("status", "--check", "--platform", "linux/amd64", path)
    unknown = str(layer.recipe("odd_1.bb", 'SRC_URI = "docker://${UNKNOWN}/x"\n'))
    # The text does not tell the pin; the registry knows the image.
    doubtful = f'SRC_URI = "docker://{server.address}/refresh/named;tag=v1"\nSRC_URI[sha256sum] = "${{PIN}}"\n'
    doubt = str(layer.recipe("doubt_1.bb", doubtful))
    gone = str(layer.recipe("gone_1.bb", f'SRC_URI = "docker://{server.address}/refresh/gone;tag=v1"\n'))
    for paths, code in (([unknown], 1), ([unknown, path], 4), ([doubt], 1), ([doubt, path], 4), ([doubt, gone], 1)):
        layer.run("status", "--check", "--platform", "linux/amd64", *paths, code=code)
        layer.run("check", "--platform", "linux/amd64", *paths, code=code)


def test_status_and_check_find_the_same(server, layer):
    """Of two platforms' images one is new: for a recipe of the other there is nothing to do."""
    old = server.push(make("half"), "refresh/half", "v1")
    for architecture in ("amd64", "arm64"):
        layer.pinned(f"{architecture}_1.0.bb", f"{server.address}/refresh/half;tag=v1;platform=linux/{architecture}", old)
    again = images.index([make("half").manifest("linux/amd64"), make("half new").manifest("linux/arm64/v8")])
    server.push(again, "refresh/half", "v1")
    found = {one["recipe"]: one["remote"]["state"] for one in layer.json("status", "--remote")["images"]}
    assert found == {"amd64": "index-only", "arm64": "stale"}
    assert found == {one["recipe"]: one["status"] for one in layer.json("check", code=3)["images"]}


@pytest.mark.parametrize(("line", "expected"), [
    ("dockin re", {"refresh "}), ("dockin refresh --upgrade ", {"patch", "minor", "major"}),
    ("dockin refresh --commit=", {"recipe", "all"}), ("dockin refresh --min", {"--min-age "}),
    ("dockin check app", {"app.bb "}),
])
def test_completion(layer, line, expected):
    """argcomplete's protocol: the line in variables, the answer on descriptor 8."""
    (layer.root / "app.bb").write_text("")
    answer = layer.root.parent / "answer"
    variables = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "COMP_LINE": line, "COMP_POINT": str(len(line))}
    subprocess.run(["sh", "-c", 'exec "$@" 8>"$0" 9>/dev/null', str(answer), sys.executable, str(SCRIPT)], cwd=layer.root,
                   env={**layer.environment, **variables}, check=True, timeout=SECONDS)
    assert {word.rpartition("=")[2] for word in answer.read_text().split("\n")} >= expected


def test_resolver_skopeo(server, layer):
    old = server.push(make("by"), "refresh/by", "v1")
    path = layer.pinned("app_1.0.bb", f"{server.address}/refresh/by;tag=v1", old)
    new = server.push(make("by too"), "refresh/by", "v1")
    document = layer.json("refresh", DOCKIN_RESOLVER="skopeo")
    assert document["images"][0]["resolver"] == "skopeo"
    assert new[7:] in path.read_text()


# What is beside a recipe

def unit(server, repository, tag):
    return units.unit_name(reference.parse(f"{server.address}/{repository}:{tag}"))


def composed(server, layer, repository):
    """Write a recipe like the demo compose-example: two tags of a repository, a Compose file, a unit; return its path."""
    address = f"{server.address}/{repository}"
    pins = {tag: server.push(make(f"{repository} {tag}"), repository, tag)[7:] for tag in ("1.36.1", "1.37.0")}
    layer.recipe("files/compose.yml", "\n".join([
        "services:", f"  web: {{image: '{address}:1.37.0'}}", "  probe:", f"    # not {address}:1.36.1 alone",
        f"    image: {address}:1.36.1", ""]))
    layer.recipe("files/x.service", f"[Unit]\nRequires={unit(server, repository, '1.37.0')}"
                                    f" {unit(server, repository, '1.36.1')}\n[Service]\nExecStart=/bin/true\n")
    return layer.recipe("x_1.0.bb", "\n".join([
        "inherit dockin", 'SRC_URI = " \\', f"    docker://{address};tag=1.37.0;name=web \\",
        f"    docker://{address};tag=1.36.1;name=probe \\", '    file://compose.yml file://x.service"',
        *(f'SRC_URI[{name}.sha256sum] = "{pins[tag]}"' for name, tag in (("web", "1.37.0"), ("probe", "1.36.1"))), ""]))


def entries(path):
    """Return the images of a recipe, as the class reads them."""
    text = path.read_text().split('"')[1].replace("\\\n", " ")
    return {one.name: one.reference.tag for one in source.parse_src_uri(text)}


@pytest.mark.parametrize("newer", [("1.38.0",), ("1.36.2", "1.37.5"), ("1.36.2", "1.38.0")], ids=" ".join)
@pytest.mark.parametrize("level", ["patch", "minor"])
def test_files_beside_a_recipe_follow(server, layer, level, newer):
    """No upgrade leaves a recipe that the class refuses, or a file that names an image which is not there."""
    repository = f"beside/{level}-{'-'.join(newer)}"
    path = composed(server, layer, repository)
    for tag in newer:
        server.push(make(f"{repository} {tag}"), repository, tag)
    layer.versioned()
    layer.run("refresh", "--upgrade", level, "--commit", code=None)
    tags = entries(path)
    assert len(set(tags.values())) == 2
    for tag in tags.values():
        assert server.tag_digest(repository, tag)[7:] in path.read_text()
    compose, service = (path.parent / "files" / name for name in ("compose.yml", "x.service"))
    assert f"web: {{image: '{server.address}/{repository}:{tags['web']}'}}" in compose.read_text()
    assert f"\n    image: {server.address}/{repository}:{tags['probe']}\n" in compose.read_text()
    assert service.read_text().split("\n")[1] == (
        f"Requires={unit(server, repository, tags['web'])} {unit(server, repository, tags['probe'])}")
    assert layer.git("status", "--porcelain") == ""
    if "1.36.2" in newer and level == "patch":
        assert tags["probe"] == "1.36.2"
    before = {one: one.read_text() for one in (path, compose, service)}
    layer.run("refresh", "--upgrade", level, code=None)
    assert {one: one.read_text() for one in before} == before


def test_a_digest_in_a_compose_file_follows(server, layer):
    old = server.push(make("pinned"), "beside/pinned", "1")
    path = layer.recipe("x_1.0.bb", f'inherit dockin\nSRC_URI = "docker://{server.address}/beside/pinned;tag=1;name=web \\\n'
                                    f'    file://compose.yml"\nSRC_URI[web.sha256sum] = "{old[7:]}"\n')
    compose = layer.recipe("files/compose.yml", f"services:\n  web:\n    image: {server.address}/beside/pinned:1@{old}\n")
    new = server.push(make("pinned again"), "beside/pinned", "1")
    diff = layer.run("refresh", "--dry-run")
    assert "compose.yml" in diff and old in compose.read_text()
    layer.run("refresh")
    assert new[7:] in path.read_text()
    assert compose.read_text() == f"services:\n  web:\n    image: {server.address}/beside/pinned:1@{new}\n"


def test_what_can_not_follow_is_refused_with_its_place(server, layer):
    old = server.push(make("variable"), "beside/variable", "1")
    path = layer.recipe("x_1.0.bb", f'inherit dockin\nSRC_URI = "docker://{server.address}/beside/variable;tag=1;name=web'
                                    f' file://compose.yml"\nSRC_URI[web.sha256sum] = "{old[7:]}"\n')
    layer.recipe("files/compose.yml",
                 f"services:\n  web:\n    image: {server.address}/beside/variable:1@${{DIGEST:-{old}}}\n")
    before = path.read_text()
    server.push(make("variable again"), "beside/variable", "1")
    text = layer.run("refresh", code=None)
    assert "files/compose.yml:3" in text and path.read_text() == before


def test_includes_of_one_name_in_two_layers(server, tmp_path, bytecode):
    """An include that is named is examined, not the other layer's."""
    digests = {name: server.push(make(name), f"beside/{name}", "1") for name in ("first", "second")}
    made = {}
    for name, digest in digests.items():
        (tmp_path / name).mkdir()
        one = made[name] = Layer(tmp_path / name, bytecode)
        one.recipe(f"{name}_1.0.bb", "inherit dockin\nrequire inc/common.inc\n")
        (one.root / "inc").mkdir()
        (one.root / "inc" / "common.inc").write_text(
            f'SRC_URI = "docker://{server.address}/beside/{name};tag=1"\nSRC_URI[sha256sum] = "{digest[7:]}"\n')
    named = made["first"].root / "inc" / "common.inc"
    # Which of them BitBake takes says the order of the layers, which is not known here.
    [found] = made["first"].json("check", str(named), "--layer", str(made["second"].root), code=1)["images"]
    assert found["uri"] == f"docker://{server.address}/beside/first" and found["file"] == "inc/common.inc"
    assert "inc/common.inc at recipes-containers/some/first_1.0.bb:2 is in more than one layer" in found["error"]["message"]
    assert statuses(made["first"].json("check", str(named))) == {"first:1": "current"}
