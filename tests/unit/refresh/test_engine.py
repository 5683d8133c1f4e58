# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What a refresh writes where images share a pin or a tag: all of it fits together, or nothing is written."""

from __future__ import annotations

import json
import os
import textwrap
import threading

import pytest

from dockin import exitcodes
from dockin.image import manifests
from dockin.recipe import recipefile, textreader
from dockin.refresh import engine, findings, report as refresh_report
from dockin.registry import client
from dockin.registry.resolver import ResolveError

OLD, NEW, OTHER = "a" * 64, "b" * 64, "c" * 64
DOCUMENT = f"""{{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "layers": [],
"config": {{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:{OTHER}", "size": 2}}}}"""


class Registry:
    """Stands for a resolver."""

    def __init__(self, tags):
        self._tags = tags

    def kind(self, reference):
        return "none"

    def digest(self, reference):
        if reference.digest:
            return reference.digest
        try:
            return "sha256:" + self._tags[f"{reference.repository}:{reference.tag}"]
        except KeyError:
            raise ResolveError("not-found", f"there is no {reference}") from None

    def digest_read(self, reference):
        return self.digest(reference)

    def document_kind(self, digest):
        return "manifest"

    def document(self, reference):
        return DOCUMENT.encode()

    def config(self, reference):
        return "", "", manifests.Config("linux", "amd64", "", (), {}, "")

    def tags(self, reference):
        return [name.partition(":")[2] for name in self._tags if name.startswith(reference.repository + ":")]


@pytest.fixture
def run(tmp_path):
    """Write files of a layer, refresh them, and return the report and the files that are then there."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "layer.conf").touch()

    def run(files, tags, named=".", **options):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(textwrap.dedent(text).lstrip().replace("OLD", OLD))
        before = {path.name: path.read_text() for path in tmp_path.iterdir() if path.is_file()}
        report = engine.run(engine.read_tasks([str(tmp_path / named)]), engine.Options(**options), Registry(tags))
        after = {path.name: path.read_text() for path in tmp_path.iterdir() if path.is_file()}
        return report, before, after

    return run


OURS = {
    "meta-dockin/conf/layer.conf": "",
    "meta-dockin/recipes-demo/demo_1.bb": 'SRC_URI = "docker://r.example/demo;tag=1"\nSRC_URI[sha256sum] = "OLD"\n',
    "meta-product/conf/layer.conf": "",
    "meta-product/recipes/mine_1.bb": 'SRC_URI = "docker://r.example/mine;tag=1"\nSRC_URI[sha256sum] = "OLD"\n',
}


@pytest.mark.parametrize(
    ("named", "only", "changed"),
    [
        (["."], [], {"mine"}),
        (["meta-product", "meta-dockin"], [], {"mine", "demo"}),
        (["meta-dockin"], [], {"demo"}),
        (["link"], [], {"demo"}),
        (["meta-dockin/recipes-demo/demo_1.bb"], [], {"demo"}),
        (["."], ["r.example/demo"], {"demo"}),
        (["."], ["r.example/mine"], {"mine"}),
    ],
)
def test_this_layers_own_recipes_are_left_alone_unless_they_are_named(tmp_path, monkeypatch, named, only, changed):
    monkeypatch.setattr("dockin.recipe.yoctolayers.OWN", str(tmp_path / "meta-dockin"))
    for name, text in OURS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text.replace("OLD", OLD))
    (tmp_path / "link").symlink_to("meta-dockin")
    tasks = engine.read_tasks([str(tmp_path / name) for name in named])
    report = engine.run(tasks, engine.Options(only=tuple(only)), Registry({"demo:1": NEW, "mine:1": NEW}))
    assert {result.recipe.name for result in report.results} == changed
    recipes = {name: (tmp_path / name).read_text() for name in OURS if name.endswith(".bb")}
    assert {path.rpartition("/")[2][:4] for path, text in recipes.items() if NEW in text} == changed


def statuses(report):
    return {result.reference.tagged.familiar.partition("/")[2]: result.status for result in report.results}


class Crowd(Registry):
    """Answers once as many ask as are awaited, and remembers how many asked at a time."""

    def __init__(self, tags, awaited):
        super().__init__(tags)
        self._meeting, self._lock = threading.Barrier(awaited), threading.Lock()
        self._asking = self.most = 0

    def digest(self, reference):
        with self._lock:
            self._asking += 1
            self.most = max(self.most, self._asking)
        self._meeting.wait(20)
        with self._lock:
            self._asking -= 1
        return super().digest(reference)


@pytest.mark.parametrize("jobs", [1, 3])
def test_as_many_look_ups_at_a_time_as_there_are_jobs(tmp_path, jobs):
    entries = " ".join(f"docker://h.io/x;tag={number};name=n{number};digest=sha256:{OLD}" for number in range(6))
    (tmp_path / "x_1.bb").write_text(f'SRC_URI = "{entries}"\n')
    crowd = Crowd({f"x:{number}": OLD for number in range(6)}, jobs)
    report = engine.run(engine.read_tasks([str(tmp_path)]), engine.Options(jobs=jobs), crowd)
    assert ([result.status for result in report.results], crowd.most) == (["current"] * 6, jobs)


SHARED_TAG = {
    "tag.inc": 'TAG = "1.0.0"\n',
    **{f"{name}_1.bb": f'''
        require tag.inc
        SRC_URI = "docker://h.io/{name};tag=${{TAG}}"
        SRC_URI[sha256sum] = "OLD"
        ''' for name in "xy"},
}
CHAIN = {
    "pin.inc": 'SRC_URI[b.sha256sum] = "OLD"\n',
    "x_1.0.0.bb": '''
        require pin.inc
        SRC_URI = "docker://h.io/x;tag=${PV};name=a docker://h.io/y;tag=${PV};name=b"
        SRC_URI[a.sha256sum] = "OLD"
        ''',
    "z_1.bb": '''
        require pin.inc
        SRC_URI = "docker://h.io/y;tag=7;name=b"
        ''',
}


@pytest.mark.parametrize(("files", "tags", "options", "expected"), [
    pytest.param({
        "x.inc": 'SRC_URI = "docker://h.io/x;tag=${PV}"\nSRC_URI[sha256sum] = "OLD"\n',
        "x_1.0.bb": "require x.inc\n", "x_1.0.0.bb": "require x.inc\n",
    }, {"x:1.0": NEW, "x:1.0.0": OLD}, {}, {"x:1.0": "error", "x:1.0.0": "current"}, id="one pin for a tag that stands"),
    pytest.param({
        "x.inc": 'SRC_URI[sha256sum] = "OLD"\n',
        "x_1.bb": 'require x.inc\nSRC_URI = "docker://h.io/x"\n', "y_1.bb": 'require x.inc\nSRC_URI = "docker://h.io/y"\n',
    }, {"x:latest": NEW}, {"only": ("h.io/x",)}, {"x:latest": "error"}, id="one pin for an image that is not looked at"),
    pytest.param({
        "x.inc": 'SRC_URI = "docker://h.io/x;tag=${MINE}"\n',
        "x_1.bb": 'MINE = "1"\nrequire x.inc\n', "x_2.bb": 'MINE = "2"\nrequire x.inc\n',
    }, {"x:1": NEW, "x:2": OTHER}, {"pin_unpinned": True}, {"x:1": "error", "x:2": "error"}, id="two pins in one place"),
    pytest.param(SHARED_TAG, {"x:1.0.0": OLD, "x:1.0.1": NEW, "y:1.0.0": OLD}, {"upgrade": "patch"},
                 {"x:1.0.0": "current", "y:1.0.0": "current"}, id="one tag for a recipe that has no newer one"),
    pytest.param(CHAIN, {"x:1.0.0": OLD, "x:1.0.1": NEW, "y:1.0.0": OLD, "y:1.0.1": NEW, "y:7": OLD}, {"upgrade": "patch"},
                 dict.fromkeys(("x:1.0.0", "y:1.0.0", "y:7"), "current"), id="one that fails takes along what follows"),
])
def test_nothing_is_written(run, files, tags, options, expected):
    report, before, after = run(files, tags, **options)
    assert (statuses(report), after) == (expected, before)


SHARED_PIN = {
    "pin.inc": 'SRC_URI[sha256sum] = "OLD"\n',
    "deep.inc": "require pin.inc\n",
    "x_1.bb": 'require pin.inc\nSRC_URI = "docker://h.io/x;tag=1"\n',
}
SAME = {f"{name}_1.0.0.bb": "require x.inc\n" for name in "xy"}


@pytest.mark.parametrize(("other", "options"), [
    pytest.param('require pin.inc\nSRC_URI = "docker://h.io/y;tag=1"\n', {}, id="another image"),
    pytest.param('require pin.inc\nSRC_URI = "docker://h.io/x;tag=2"\n', {}, id="another tag"),
    pytest.param('require deep.inc\nSRC_URI = "docker://h.io/y;tag=1"\n', {}, id="by an include of an include"),
    pytest.param('require ${BPN}.inc\nSRC_URI = "docker://h.io/y;tag=1"\n', {}, id="by a name that is expanded"),
    pytest.param('require pin.inc\nSRC_URI = "docker://${HOST}/x;tag=1"\n', {}, id="an image that is not known"),
    pytest.param('require pin.inc\nSRC_URI = "x"\npython () {\n    d.setVar("SRC_URI", "docker://h.io/x;tag=1")\n}\n', {},
                 id="an image in code"),
    pytest.param('inherit \\\n  mine\nSRC_URI = "docker://h.io/y;tag=1"\n', {}, id="by an include of a class"),
    pytest.param('F = "pin.inc"\nrequire ${F}\nSRC_URI = "docker://h.io/y;tag=1"\n', {}, id="by a variable of the file"),
])
def test_a_recipe_that_is_not_named_keeps_its_pin(run, other, options):
    files = {**SHARED_PIN, "y_1.bb": other, "y.inc": "require deep.inc\n", "classes/mine.bbclass": "require pin.inc\n"}
    report, before, after = run(files, {"x:1": NEW, "x:2": OLD, "y:1": OLD}, named="x_1.bb", **options)
    assert (statuses(report), after) == ({"x:1": "error"}, before)
    assert "y_1.bb" in report.results[0].found.message


def test_no_pin_is_put_beside_an_entry_that_another_recipe_may_change(run):
    files = {"x.inc": 'SRC_URI = "docker://h.io/x;tag=${MINE}"\n', "x_1.bb": 'MINE = "1"\nrequire x.inc\n',
             "x_2.bb": 'MINE = "1"\nMINE:arm = "2"\nrequire x.inc\n'}
    report, before, after = run(files, {"x:1": NEW}, named="x_1.bb", pin_unpinned=True)
    assert (statuses(report), after) == ({"x:1": "error"}, before)


def test_a_recipe_that_is_not_named_and_wants_the_same(run):
    other = 'require pin.inc\nSRC_URI = "docker://h.io/x;tag=1"\n'
    report, _, after = run({**SHARED_PIN, "y_1.bb": other}, {"x:1": NEW}, named="x_1.bb")
    assert (statuses(report), NEW in after["pin.inc"]) == ({"x:1": "updated"}, True)
    # An append, whose recipe is not named.
    append = 'SRC_URI += "docker://h.io/z;tag=1.0.0;digest=sha256:OLD"\n'
    files = {"z_1.bb": "inherit dockin\n", "z_1.bbappend": append}
    report, _, after = run(files, {"z:1.0.0": OLD, "z:1.0.1": NEW}, named="z_1.bbappend", upgrade="patch")
    assert (statuses(report), NEW in after["z_1.bbappend"]) == ({"z:1.0.0": "updated"}, True)


def test_an_upgrade_that_a_recipe_that_is_not_named_follows(run):
    files = {**SAME, "x.inc": 'SRC_URI = "docker://h.io/x;tag=1.0.0"\nSRC_URI[sha256sum] = "OLD"\n'}
    report, _, after = run(files, {"x:1.0.0": OLD, "x:1.0.1": NEW}, named="x_1.0.0.bb", upgrade="patch")
    assert statuses(report) == {"x:1.0.0": "updated"}
    assert "tag=1.0.1" in after["x.inc"] and NEW in after["x.inc"]


@pytest.mark.parametrize("files", [
    pytest.param({**SAME, "x.inc": 'SRC_URI = "docker://h.io/${BPN};tag=1.0.0"\nSRC_URI[sha256sum] = "OLD"\n'},
                 id="tag of another image"),
    pytest.param({"x_1.0.0.bb": 'SRC_URI = "docker://h.io/x;tag=${PV}"\nSRC_URI[sha256sum] = "OLD"\n',
                  "y_1.bb": "require x_1.0.0.bb\n"}, id="name of the file"),
])
def test_an_upgrade_that_a_recipe_that_is_not_named_does_not_follow(run, files):
    report, before, after = run(files, {"x:1.0.0": OLD, "x:1.0.1": NEW}, named="x_1.0.0.bb", upgrade="patch")
    assert (statuses(report), after) == ({"x:1.0.0": "current"}, before)
    assert "1.0.1 is there, but not taken: " in report.notes[0]


ENTRY = 'SRC_URI = "docker://h.io/x;tag={}{}"\nSRC_URI[sha256sum] = "OLD"\n'


@pytest.mark.parametrize(("tag", "current", "newer", "name"), [
    ("v${PV}", "v1.0.0", "v1.0.1", "x_1.0.1.bb"),
    ("${PV}-alpine", "1.0.0-alpine", "1.0.1-alpine", "x_1.0.1.bb"),
    ("v${PV}-alpine", "v1.0.0-alpine", "v1.0.1-alpine", "x_1.0.1.bb"),
    ("1.${PV}", "1.1.0.0", "1.1.0.1", "x_1.0.1.bb"),
])
def test_an_upgrade_of_a_version_with_something_around_it(run, tag, current, newer, name):
    """As add-docker writes it: v${PV}."""
    text = ENTRY.format(tag, "")
    report, _, after = run({"x_1.0.0.bb": text}, {f"x:{current}": OLD, f"x:{newer}": NEW}, upgrade="minor")
    assert (statuses(report), after) == ({f"x:{current}": "updated"}, {name: text.replace("OLD", NEW)})


@pytest.mark.parametrize(("files", "tags", "why"), [
    pytest.param({"x_1.0.0.bb": ENTRY.format("2.${PV}", "")}, ("2.1.0.0", "3.1.0.0"), "built from variables",
                 id="other prefix"),
    pytest.param({"x_1.0.bb": ENTRY.format("${PV}.${PV}", "")}, ("1.0.1.0", "1.0.1.1"), "built from variables", id="twice"),
    pytest.param({"x_1.0.0.bb": ENTRY.format("${PV}", " docker://h.io/y;tag=v${PV};name=y")}, ("1.0.0", "1.0.1"),
                 "its own tag and pin", id="another image"),
    pytest.param({"x_1.0.0.bb": ENTRY.format("${PV}", "").replace("/x", "/x${PV}")}, ("1.0.0", "1.0.1"),
                 "its own tag and pin", id="the repository"),
    pytest.param({"x_1.bb": 'V = "1.0.0"\n' + ENTRY.format("${V}", " docker://h.io/y;tag=v${V};name=y")}, ("1.0.0", "1.0.1"),
                 "its own tag and pin", id="another image by a variable"),
    pytest.param({"x_1.bb": 'V = "1.0.0"\n' + ENTRY.format("${V}", ";name=i https://x.org/${V}.tgz").replace("[s", "[i.s")},
                 ("1.0.0", "1.0.1"), "https://x.org/1.0.0.tgz has its version", id="a tarball by a variable"),
    pytest.param({"x_1.0.0.bb": ENTRY.format("${PV}", " file://${BP}.cfg")}, ("1.0.0", "1.0.1"),
                 "file://x-1.0.0.cfg has its version", id="a local file"),
    pytest.param({"x_1.0.0.bb": "require x-${PV}.inc\n" + ENTRY.format("${PV}", ""), "x-1.0.0.inc": ""}, ("1.0.0", "1.0.1"),
                 "x-1.0.0.inc has its version", id="an include"),
])
def test_where_an_upgrade_can_not_be_written_the_tag_is_kept(run, files, tags, why):
    current, newer = tags
    tags = {f"{name}:{tag}": digest for name in ("x", f"x{current}") for tag, digest in ((current, OTHER), (newer, NEW))}
    tags[f"y:v{current}"] = OLD
    report, before, after = run(files, tags, upgrade="major")
    assert report.results[0].status == "updated" and any(newer in note and why in note for note in report.notes)
    assert after == {name: text.replace(OLD, OTHER) for name, text in before.items()}


@pytest.mark.parametrize(("files", "tags", "expected"), [
    pytest.param({"x_1.0.0.bb": ENTRY.format("${PV}", ""), "x_1.0.2.bb": "LICENSE = 'MIT'\n"}, ["1.0.0", "1.0.1", "1.0.2"],
                 "x_1.0.1.bb", id="the name is taken"),
    pytest.param({"x_0.0.bb": ENTRY.format("2.${PV}", "")}, ["2.0.0", "2.1.0", "3.0.0", "4.0.0"], "x_1.0.bb",
                 id="another prefix"),
    pytest.param({"x_1.0.0.bb": ENTRY.format("${PV}", ";name=x docker://h.io/y;tag=${PV};digest=sha256:OLD").replace(
        "[sha256sum]", "[x.sha256sum]")}, ["1.0.0", "1.0.1", "1.0.2", "1.0.3"], "x_1.0.1.bb",
                 id="another image has not the newest"),
])
def test_where_the_newest_tag_can_not_be_written_a_lower_one_is(run, files, tags, expected):
    known = {f"x:{tag}": NEW for tag in tags} | {f"x:{tags[0]}": OLD, "y:1.0.0": OLD, "y:1.0.1": NEW}
    report, _, after = run(files, known, upgrade="major")
    assert {result.status for result in report.results} == {"updated"}, report.notes
    assert NEW in after[expected] and OLD not in after[expected]
    assert any(f"{tags[-1]} is there, but not taken" in note for note in report.notes)


def test_what_is_shared_moves_together(run):
    tags = {"x:1.0.0": OLD, "x:1.0.1": NEW, "y:1.0.0": OLD, "y:1.0.1": OTHER}
    report, _, after = run(SHARED_TAG, tags, upgrade="patch")
    assert statuses(report) == {"x:1.0.0": "updated", "y:1.0.0": "updated"}
    assert '"1.0.1"' in after["tag.inc"] and NEW in after["x_1.bb"] and OTHER in after["y_1.bb"]


TWO_FILES = {
    "tag.inc": SHARED_TAG["tag.inc"],
    "x_1.bb": SHARED_TAG["x_1.bb"],
    # The name is the tag of two images, whose pins are elsewhere.
    "p.inc": 'SRC_URI[a.sha256sum] = "OLD"\nSRC_URI[b.sha256sum] = "OLD"\n',
    "p_1.0.0.bb": """
        require p.inc
        SRC_URI = "docker://h.io/p;tag=${PV};name=a docker://h.io/q;tag=${PV};name=b"
        """,
}
TWO_FILES_TAGS = {f"{name}:1.0.{step}": digest for name in "xpq" for step, digest in enumerate((OLD, NEW))}


@pytest.mark.parametrize("failing", ["tag.inc", "x_1.bb", "p.inc", "p_1.0.1.bb"])
def test_tag_and_pin_in_two_files_are_written_together(run, monkeypatch, failing):
    names = {name: getattr(os, name) for name in ("replace", "link")}

    def fail(name):
        def instead(source, target):
            if os.path.basename(target) == failing and "ro" not in done:
                done.append("ro")
                raise OSError(28, "No space left on device")
            return names[name](source, target)
        return instead

    done = []
    for name in names:
        monkeypatch.setattr(os, name, fail(name))
    report, before, after = run(TWO_FILES, TWO_FILES_TAGS, upgrade="patch")
    mine = ("tag.inc", "x_1.bb") if failing in ("tag.inc", "x_1.bb") else ("p.inc", "p_1.0.0.bb")
    assert {name: after.get(name) for name in mine} == {name: before[name] for name in mine}
    assert sorted(result.status for result in report.results) == sorted(
        ["error"] + ["updated"] * 2 if "x_1.bb" in mine else ["error"] * 2 + ["updated"])
    # What has nothing to do with it is written, and nothing else is left.
    assert len(after) == len(before) and sum(NEW in text for text in after.values()) == 1


@pytest.mark.parametrize("step", [1, 2])
def test_killed_between_tag_and_pin(run, monkeypatch, step):
    """The next refresh completes it, even one that takes no new tags."""
    files = {name: TWO_FILES[name] for name in ("tag.inc", "x_1.bb")}
    replace = os.replace

    def killed(source, target):
        replace(source, target)
        written.append(target)
        if len(written) == step:
            os._exit(9)

    written = []
    child = os.fork()
    if not child:
        os.replace = killed
        run(files, TWO_FILES_TAGS, upgrade="patch")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    report, before, after = run({}, TWO_FILES_TAGS)
    assert ('"1.0.1"' in before["tag.inc"], NEW in before["x_1.bb"]) == (True, step == 2)
    assert ('"1.0.1"' in after["tag.inc"], NEW in after["x_1.bb"]) == (True, True)
    assert len(after) == 2


def test_one_tag_for_two_platforms(run):
    """A pin of an index serves both, whatever has changed for each."""
    entry = 'SRC_URI = "docker://h.io/x;tag=1;platform={};name=p"\nrequire pin.inc\n'
    report, _, after = run({
        "pin.inc": 'SRC_URI[p.sha256sum] = "OLD"\n',
        "a_1.bb": entry.format("linux/amd64"), "b_1.bb": entry.format("linux/386"),
    }, {"x:1": NEW})
    assert [result.status for result in report.results] == ["updated", "updated"]
    assert NEW in after["pin.inc"]


def test_no_password_is_printed(run):
    report, _, _ = run({"x_1.bb": '''
        SRC_URI = "docker://user:hush@h.io/x;tag=1;password=hush"
        SRC_URI += "docker://user:hush@${HOST}/x docker://h.io/y;auth=hush docker://h.io/a?hush;tag=1"
        SRC_URI += "docker://h.io/b;tag=1#hush docker://h.io/c%3fhush docker://h.io/${D}?a=hush"
        python () {
            d.appendVar("SRC_URI", " docker://user:hush@h.io/z docker://h.io/e?hush")
        }
        '''}, {})
    assert len(report.results) == 9
    for show in (refresh_report.as_text, refresh_report.as_json, refresh_report.as_markdown):
        assert "hush" not in show(report, client.Statistics())


@pytest.mark.parametrize(("words", "shown"), [
    ("plain", "`plain`"), ("a\\b", "`a\\b`"), ("a|b", "`a\\|b`"), ("a\\|b", "`a\\ \\|b`"), ("`x`\n", "`'x'`")])
def test_words_in_a_table_of_markdown(words, shown):
    """A backslash in a code span is one; only before a | it is not."""
    image = recipefile.Image("x.bb", 1, "docker://x", None)
    result = engine.Result(recipefile.Recipe("x.bb", "x", ""), image, None)
    result.fail("other", words)
    text = refresh_report.as_markdown(engine.Report(engine.Options(), [result], [], []), client.Statistics())
    assert f"| `x` | `docker://x` | {shown} |" in text.splitlines()


def test_what_somebody_has_made_long_leaves_a_report_readable():
    """A forge takes so much as the text of a pull request, and no request for any recipe where it is more."""
    results = []
    for number in range(400):
        image = recipefile.Image(f"x{number}.bb", 1, "docker://x", None)
        result = engine.Result(recipefile.Recipe(f"x{number}.bb", f"x{number}", ""), image, None)
        result.found.status = findings.STALE
        result.found.platforms_gone = tuple(f"linux/{number:0250}" for number in range(1000))
        results.append(result)
    results[1].fail("other", "x" * 100_000)
    report = engine.Report(engine.Options(), results, [], [])
    text = refresh_report.as_markdown(report, client.Statistics())
    assert 50_000 < len(text) < 65_536 and "the whole is in the job's log" in text and "and 990 more" in text
    assert max(map(len, text.splitlines())) < 5000
    assert max(map(len, refresh_report.as_text(report, client.Statistics()).splitlines())) < 110_000
    assert len(json.loads(refresh_report.as_json(report, client.Statistics()))["images"][0]["platforms_gone"]) == 1000


def test_a_recipe_that_can_not_be_read_keeps_no_other(run, tmp_path):
    (tmp_path / "gone_1.bb").symlink_to("nowhere.bb")
    report, _, after = run({"x_1.bb": SHARED_PIN["x_1.bb"], "pin.inc": SHARED_PIN["pin.inc"]}, {"x:1": NEW})
    assert [(result.recipe.name, result.status) for result in report.results] == [("gone_1.bb", "error"), ("x", "updated")]
    found = [result.found for result in report.results]
    assert NEW in after["pin.inc"] and findings.exit_code(found, check=False) == exitcodes.PARTIAL


@pytest.mark.parametrize(("files", "notes"), [
    ({"x_1.bbappend": 'SRC_URI[sha256sum] = "OLD"\n'}, ["x_1.bbappend:1: this may be an image's pin: the recipe that it is"
                                                        " for is not among those given"]),
    ({"x_1.bbappend": 'SRC_URI = "https://x.org/x.tgz"\nSRC_URI[sha256sum] = "OLD"\n'}, []),
    ({"x_1.bb": 'SRC_URI = "https://x.org/x.tgz"\n', "x_1.bbappend": 'SRC_URI[sha256sum] = "OLD"\n'}, []),
    ({"x_1.bb": "inherit_defer dockin\nrequire ${ELSEWHERE}.inc\n"},
     ["x_1.bb:2: ${ELSEWHERE}.inc is not read: its name is not known here"]),
    ({"x_1.bb": "inherit \\\n    systemd \\\n    dockin\n"}, ["x_1.bb: it inherits dockin, but its text shows no image"]),
    ({"x_1.bb": "inherit dockin\ninclude_all x.inc\n", "x.inc": 'SRC_URI = "docker://h.io/x;tag=1;digest=sha256:OLD"\n'},
     ["x_1.bb:2: x.inc of other layers is not read"]),
])
def test_what_may_be_missed_is_told_of(run, files, notes):
    report, _, _ = run(files, {"x:1": OLD})
    assert report.notes == notes
    # A file that is not read may put something else into SRC_URI.
    unread = "require" in str(files) or "include_all" in str(files)
    assert [result.status for result in report.results] == ["error"] * unread


def test_a_neighbour_by_include_all(run):
    files = {**SHARED_PIN, "y_1.bb": 'include_all pin.inc\nSRC_URI = "docker://h.io/y;tag=1"\n'}
    report, before, after = run(files, {"x:1": NEW, "y:1": OLD}, named="x_1.bb")
    assert (statuses(report), after) == ({"x:1": "error"}, before)


@pytest.mark.parametrize(("named", "status"), [(".", "updated"), ("x_1.bb", "error")])
@pytest.mark.parametrize("names", ["image: 'h.io/x:1@sha256:OLD'", "image: h.io/z, command: 'pull OLD'"])
def test_a_neighbour_by_a_file_that_names_its_image(run, tmp_path, named, status, names):
    """The file of two recipes can't have one's new digest and be right for the other."""
    text = 'inherit dockin\nSRC_URI = "docker://h.io/x;tag=1 file://compose.yml"\nSRC_URI[sha256sum] = "OLD"\n'
    beside = f"services: {{w: {{{names}}}}}\n"
    shared = "compose.yml" if "h.io/x" in names else "run.sh"
    text = text.replace("compose.yml", shared)
    files = {"x_1.bb": text, "y_1.bb": text, f"files/{shared}": beside}
    report, before, after = run(files, {"x:1": NEW}, named=named)
    assert statuses(report) == {"x:1": status}
    assert (after == before) == (status == "error")
    assert (tmp_path / "files" / shared).read_text() == beside.replace("OLD", OLD if status == "error" else NEW)


def test_a_pattern_that_fits_nothing_is_told_of(run):
    report, _, _ = run(SHARED_PIN, {"x:1": OLD}, only=("h.io/x", "h.io/z*"))
    assert (statuses(report), report.notes) == ({"x:1": "current"}, ["--only h.io/z* fits no image"])


def test_a_file_by_two_paths_is_one(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x_1.bb").write_text(ENTRY.format("1", "").replace("OLD", OLD))
    (tmp_path / "link").symlink_to("real")
    found = textreader.find([str(tmp_path / "link"), str(tmp_path / "real"), str(tmp_path / "real" / "x_1.bb")])[0]
    assert found == [(str(tmp_path / "link" / "x_1.bb"), [])]
    # Another name is another version.
    (tmp_path / "real" / "x_2.bb").symlink_to("x_1.bb")
    assert len(textreader.find([str(tmp_path / "real")])[0]) == 2


def test_one_file_with_two_names_has_one_pin(run, tmp_path):
    (tmp_path / "x_2.bb").symlink_to("x_1.bb")
    report, before, after = run({"x_1.bb": ENTRY.format("${PV}", "")}, {"x:1": NEW, "x:2": OTHER})
    assert (statuses(report), after) == ({"x:1": "error", "x:2": "error"}, before)


def test_in_no_layer_only_what_is_beside_a_recipe_is_looked_at(tmp_path, monkeypatch):
    for name in ("x_1.bb", "below/y_1.bb"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(ENTRY.format("1", "").replace("OLD", OLD))
    walked = []
    walk = os.walk
    monkeypatch.setattr(os, "walk", lambda top, **options: walked.append(top) or walk(top, **options))
    assert len(engine.read_tasks([str(tmp_path / "x_1.bb")])) == 1
    assert walked == []


def test_one_error_is_one(run):
    report, _, _ = run({"x_1.bb": 'SRC_URI = "docker://${X}/x"\n'}, {})
    assert "1 image: 1 error ·" in refresh_report.as_text(report, client.Statistics())


def test_a_recipe_whose_images_are_not_found_is_told_of(run):
    report, _, _ = run({"x_1.bb": "inherit dockin\nrequire ${ELSEWHERE}.inc\n", "y_1.bb": "require ${ELSEWHERE}.inc\n"}, {})
    assert report.notes == ["x_1.bb:2: ${ELSEWHERE}.inc is not read: its name is not known here"]


ONE = 'SRC_URI = "docker://r.example/one;tag=1"\nSRC_URI[sha256sum] = "OLD"\n'


@pytest.mark.parametrize("fault", [
    lambda text: text.replace(NEW, OTHER), lambda text: text.replace(NEW, OLD), lambda text: text.replace("tag=1", "tag=2"),
    lambda text: text.replace("r.example/one", "r.example/two"), lambda text: text + 'SRC_URI += "docker://r.example/x;tag=1"\n',
    lambda text: text.replace("SRC_URI[sha256sum]", "SRC_URI[other.sha256sum]"), lambda text: text.replace(NEW, NEW + '"'),
    lambda text: text.replace("docker://", "http://"), lambda text: "",
], ids=range(9))
def test_what_says_something_else_when_it_is_read_again_is_not_written(run, monkeypatch, fault):
    """Whatever went wrong with an edit: the new text counts, as it will be read."""
    apply = recipefile.apply
    monkeypatch.setattr(recipefile, "apply", lambda text, edits: fault(apply(text, edits)))
    report, before, after = run({"one_1.bb": ONE}, {"one:1": NEW})
    assert after == before and statuses(report) == {"one:1": "error"}
    monkeypatch.setattr(recipefile, "apply", apply)
    report, before, after = run({"one_1.bb": ONE}, {"one:1": NEW})
    assert NEW in after["one_1.bb"] and statuses(report) == {"one:1": "updated"}
