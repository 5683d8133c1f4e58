# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Build recipes with the real BitBake and OE-core of a release, to .deb packages, in seconds.

    with oe.Bench(release) as bench:                    # release: one of cache.releases()
        build = bench.build("first", 'DOCKIN_TLS_VERIFY = "0"')
        build.recipe("hello_1.0.bb", 'inherit dockin\\nSRC_URI = "docker://…"\\n')
        build.bitbake("hello").ok()                     # fails on an error, and on a warning
        assert "dockin-preload" in build.deb("hello-preload").depends

A Bench is a temporary directory where an ordinary user can work, with copies of the release's BitBake and
OE-core and of this layer. A Build is a build directory in it. Closing the bench stops what is left of its
BitBake servers and removes the directory.

What makes a build quick is that nothing is compiled. The host's programs serve for the native tools that
OE-core would build first (Debian's pseudo behind a recipe without tasks, its apt, dpkg and mkfs), OE-core's recipes
are masked, and the packages of the target that recipes need at run time (xz, docker …) come from one recipe of empty
packages. All that is test bed, and written into a layer in the build directory: support.oe_conf. What is tested,
BitBake's tasks from do_fetch to do_package_write_deb and to an image's do_image_complete with all their checks, is the
real thing.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import locale
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Iterable, Mapping, Sequence

from support import account, cache, oe_conf
from support.account import Unavailable
from support.deb import Deb

LAYER = Path(__file__).resolve().parent.parent.parent
HOST_PROGRAMS = ("apt-ftparchive", "dpkg-deb", "gzip", "mkfs.erofs", "mkfs.ext4", "mksquashfs", "parted", "pseudo",
                 "rpmbuild", "sfdisk", "sgdisk", "skopeo", "systemctl", "xz", "zstd")
PREFIX = "dockin-oe-"
PARSED_FUNCTIONS = "cache/bb_codeparser.dat"
SECONDS = 300
OUTPUT_SHOWN = 12000  # characters, from the end

# BitBake leaves its caches' lock files to the garbage collector, of which Python warns where that happens to run.
_OF_PYTHON = re.compile(r"ResourceWarning: unclosed file <_io\.TextIOWrapper name='[^']+/bb_codeparser\.dat\.lock")

GIT_CONFIG = """
[safe]
    directory = *
[user]
    name = dockin tests
    email = tests@localhost
"""


class BuildFailed(AssertionError):
    """A command ended otherwise than the test wants; str() has its output."""


@functools.cache
def missing_on_host() -> str | None:
    """Return what builds need of this machine and it lacks, with the remedy; None if it has all."""
    path = account.ordinary().path()
    missing = [name for name in HOST_PROGRAMS if not shutil.which(name, path=path)]
    if missing:
        return f"no program {', '.join(missing)} on this machine: run `make setup`"
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        locale.setlocale(locale.LC_CTYPE, ("en_US", "UTF-8"))
    except locale.Error:
        return "BitBake needs the locale en_US.UTF-8, which this machine lacks: run `make setup`"
    finally:
        locale.setlocale(locale.LC_CTYPE, before)
    return None


# ---------------------------------------------------------------------------------------- what a command did


@dataclass(frozen=True)
class Result:
    """What a command did: its exit code (None: stopped at its time limit), its output, its seconds."""

    command: str
    returncode: int | None
    output: str = field(repr=False)
    seconds: float

    @property
    def warnings(self) -> list[str]:
        """BitBake's warnings, each with the lines that belong to it."""
        return [message for message in _messages(self.output, "WARNING") if not _OF_PYTHON.search(message)]

    @property
    def errors(self) -> list[str]:
        """BitBake's errors, each with the lines that belong to it."""
        return _messages(self.output, "ERROR")

    def ok(self, *expected: str) -> Result:
        """Return self; raise BuildFailed if the command failed or warned.

        expected are regular expressions: a warning must match each, and other warnings fail as well.
        """
        if self.returncode != 0:
            raise self.failure("failed" if self.returncode is not None else "took too long")
        for pattern in expected:
            if not any(re.search(pattern, warning) for warning in self.warnings):
                raise self.failure(f"gave no warning that matches {pattern!r}")
        surplus = [one for one in self.warnings if not any(re.search(pattern, one) for pattern in expected)]
        if surplus:
            raise self.failure(f"warned: {surplus}")
        return self

    def failed(self, *expected: str) -> Result:
        """Return self; raise BuildFailed if the command succeeded, or an expression matches no error."""
        if self.returncode in (0, None):
            raise self.failure("should have failed")
        for pattern in expected:
            if not any(re.search(pattern, error) for error in self.errors):
                raise self.failure(f"gave no error that matches {pattern!r}")
        return self

    def tasks(self, recipe: str = "") -> set[str]:
        """Return the tasks, such as "do_fetch", that ran anew of recipes with recipe in <name>-<version>."""
        ran = re.findall(r"^NOTE: recipe (\S+): task (do_\w+): Started", self.output, re.MULTILINE)
        return {task for name, task in ran if recipe in name}

    def failure(self, fault: str) -> BuildFailed:
        """Return the exception for a fault, with the end of the output, less the tasks' coming and going."""
        head = f"`{self.command}` {fault} (exit code {self.returncode}, {self.seconds:.0f} s)"
        coming = r"^NOTE: (?:Running .*task \d+ of|recipe \S+: task \w+: (?:Started|Succeeded)).*\n"
        return BuildFailed(f"{head}\n{re.sub(coming, '', self.output, flags=re.M)[-OUTPUT_SHOWN:]}")


def _messages(output: str, level: str) -> list[str]:
    """Return the messages of a level in BitBake's console output; a line without a level continues one."""
    # The first message stands behind "Parsing recipes...", and "done." behind the last one.
    lines = re.sub(r"^((?:Loading|Parsing|Initialising)\b.*?\.\.\.)(?=[A-Z]+: )", r"\1\n", output, flags=re.M)
    starts = r"(?:NOTE|INFO|WARNING|ERROR|DEBUG|Summary|Loaded|Parsing|Build Configuration|Currently)\b|done\.$"
    parts = re.split(rf"^(?={starts})", lines, flags=re.M)
    return [part[len(level) + 2:].strip() for part in parts if part.startswith(level + ": ")]


@dataclass(frozen=True)
class Parsed:
    """What BitBake logged when it parsed a recipe, and values of variables, none if it can't be parsed."""

    errors: list[str]
    warnings: list[str]
    values: dict[str, str | None]


# ---------------------------------------------------------------------------------------- benches and builds


class Bench:
    """The builds of one release: copies of BitBake, OE-core and this layer, and build directories.

    Raises Unavailable where the release or the machine lacks something.
    """

    def __init__(self, release: cache.Release, layer: Path = LAYER) -> None:
        reason = release.unavailable or missing_on_host()
        if reason:
            raise Unavailable(reason)
        self.release = release
        self.account = account.ordinary()
        self.root = self.account.temporary_folder(f"{PREFIX}{release}-")
        self._builds: list[Build] = []
        self._lock = (self.root / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            _remove_dead_benches(self.root.parent)
            self.bitbake = self._copy(release.bitbake.path, "bitbake")
            self.core = self._copy(release.oecore.path, "openembedded-core")
            self.layer = self.root / "meta-dockin"
            self._copy_layer(layer)
            self.home = self.folder("home")
            self.write(self.home / ".gitconfig", GIT_CONFIG)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @functools.cached_property
    def series(self) -> str:
        """The names that OE-core has for its release, for LAYERSERIES_COMPAT."""
        conf = (self.core / "meta" / "conf" / "layer.conf").read_text()
        found = re.search(r'^LAYERSERIES_CORENAMES = "(.+)"', conf, re.MULTILINE)
        assert found, f"no LAYERSERIES_CORENAMES in {self.core}/meta/conf/layer.conf"
        return found[1]

    @functools.cached_property
    def parsed_functions(self) -> Path:
        """BitBake's cache of what the functions of the classes depend on: it goes by content, and takes 7 s to fill."""
        build = Build(self, self.folder("build-parsed"))
        build.bitbake("-p").ok()
        build.stop()
        return build.path / PARSED_FUNCTIONS

    def build(self, name: str, local_conf: str = "", **options: Any) -> Build:
        """Return a new build directory; local_conf is added to its local.conf, options are Build's."""
        folder = self.folder(f"build-{name}")
        parsed = folder / PARSED_FUNCTIONS
        parsed.parent.mkdir()
        shutil.copy(self.parsed_functions, parsed)
        self.account.own(parsed.parent)
        self.account.own(parsed)
        # BitBake 2.8 hashes the files of a recipe in the order of their full paths. The layer in a build directory has to
        # come before OE-core in every one of them, or tasks with files of both would have other hashes in another.
        build = Build(self, folder, local_conf, **options)
        self._builds.append(build)
        return build

    def copy_layer(self, name: str) -> Path:
        """Return a copy of the bench's layer, to be changed."""
        target = self.root / name
        shutil.copytree(self.layer, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        return target

    def folder(self, name: str) -> Path:
        """Make a folder that belongs to the account."""
        folder = self.root / name
        folder.mkdir()
        self.account.own(folder)
        return folder

    def write(self, path: Path, text: str) -> None:
        """Write a file that belongs to the account."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        self.account.own(path)

    def close(self) -> None:
        """Stop the servers that are left and remove the bench (but not if $DOCKIN_KEEP is set)."""
        for build in self._builds:
            build.stop()
        if os.environ.get("DOCKIN_KEEP"):
            (self.root / "lock").unlink()
            print(f"kept: {self.root}", file=sys.stderr)
        else:
            _remove(self.root)
        self._lock.close()

    def _copy_layer(self, layer: Path) -> None:
        """Copy the layer: what git tracks, and what it would if it were added."""
        for source in _layer_files(layer):
            copy = self.layer / source.relative_to(layer)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy, follow_symlinks=False)
        _open_up(self.layer)

    def _copy(self, checkout: Path, name: str) -> Path:
        """Copy a checkout; its folders are the account's, so that Python can keep compiled files there."""
        target = self.root / name
        made = (".git", "__pycache__", "pyshtables.py")
        shutil.copytree(checkout, target, symlinks=True, ignore=shutil.ignore_patterns(*made))
        _open_up(target)
        self.account.own_folders(target)
        return target


class Build:
    """A build directory, the recipes of a test in it, and commands run there as the bench's account.

    layers: this layer, or others instead; recipes: parts of OE-core that are not masked, as regular
    expressions of paths below meta/recipes- (such as "core/base-files/"); downloads: DL_DIR, if not in the
    build directory; stand_ins: False for all of OE-core, with nothing of the test bed in its place;
    virtualization: whether there is something that stands for meta-virtualization. BitBake's server stays between commands,
    as it does for users.
    """

    def __init__(self, bench: Bench, path: Path, local_conf: str = "", layers: Sequence[Path] | None = None,
                 recipes: Iterable[str] = (), downloads: Path | None = None, stand_ins: bool = True,
                 virtualization: bool = True) -> None:
        self.bench = bench
        self.path = path
        self.downloads = downloads or path / "downloads"
        self.test_layer = path / "meta-test-bed"
        self.environment: dict[str, str] = {}
        self._write_layer(stand_ins, stand_ins and virtualization)
        conf = self._stand_in_conf(recipes) if stand_ins else ""
        self._write_conf(conf + local_conf, [bench.layer] if layers is None else layers)

    # -------------------------------------------------------------------------- what is built

    def recipe(self, name: str, text: str, files: Mapping[str, str] | None = None) -> Path:
        """Write a recipe ("hello_1.0.bb") or an append into the test layer, with files beside it.

        What OE-core wants in every recipe, SUMMARY and a licence, is added where text has none.
        """
        folder = self.test_layer / "recipes-test" / re.split(r"[_.]", name)[0]
        self.bench.write(folder / name, _complete(text) if name.endswith(".bb") else text)
        for file, content in (files or {}).items():
            self.bench.write(folder / "files" / file, content)
        return folder / name

    def local_conf(self, text: str) -> None:
        """Add lines to conf/local.conf."""
        with (self.path / "conf" / "local.conf").open("a") as conf:
            conf.write(text + "\n")

    def multiconfig(self, **configs: str) -> None:
        """Add multiconfigs, of a machine (arm="qemuarm") or of lines of configuration (arm='MACHINE = "qemuarm"').

        Targets are then "mc:arm:hello", TMPDIR is tmp-arm.
        """
        for name, text in configs.items():
            lines = text if "=" in text else f'MACHINE = "{text}"'
            conf = f'{lines}\nTMPDIR = "${{TOPDIR}}/tmp-{name}"\n'
            self.bench.write(self.path / "conf" / "multiconfig" / f"{name}.conf", conf)
        self.local_conf(f'BBMULTICONFIG = "{" ".join(configs)}"')

    # -------------------------------------------------------------------------- commands

    def run(self, *argv: str, timeout: float = SECONDS) -> Result:
        """Run a command of BitBake's or OE-core's as the account, in the build directory."""
        self.bench.account.own_folders(self.path / "conf")
        self.bench.account.own_folders(self.test_layer)
        started = time.monotonic()
        with tempfile.TemporaryFile() as output:
            code = self._run(argv, output, timeout)
            output.seek(0)
            text = output.read().decode(errors="replace")
        return Result(" ".join(argv), code, text, time.monotonic() - started)

    def bitbake(self, *arguments: str, timeout: float = SECONDS) -> Result:
        """Run bitbake; with "-k" and the like, if wanted."""
        return self.run("bitbake", *arguments, timeout=timeout)

    def getvar(self, name: str, recipe: str | None = None, flag: str | None = None) -> str:
        """Return a variable's value, or a flag of it, as bitbake-getvar does."""
        options = [*(["-r", recipe] if recipe else []), *(["-f", flag] if flag else [])]
        return self.run("bitbake-getvar", "--quiet", "--value", *options, name).ok().output.rstrip("\n")

    def tinfoil(self, body: str, *arguments: str, config_only: bool = True, timeout: float = SECONDS) -> Any:
        """Run Python with a prepared `tinfoil`, arguments in sys.argv; return what it assigns to `answer`.

        One start of BitBake, for many questions. The answer must be fit for JSON.
        """
        script, answer = self.path / "question.py", self.path / "answer.json"
        path = [str(self.bench.bitbake / "lib"), str(self.bench.core / "scripts" / "lib")]
        inner = "\n".join("    " + line for line in body.splitlines())
        self.bench.write(script, oe_conf.fill(oe_conf.TINFOIL, path=path, config_only=config_only,
                                              answer=repr(str(answer)), body=inner))
        answer.unlink(missing_ok=True)
        result = self.run("python3", str(script), *arguments, timeout=timeout)
        if result.returncode != 0 or not answer.exists():
            raise result.failure("gave no answer")
        return json.loads(answer.read_text())

    def parse(self, recipes: Mapping[str, str], *variables: str) -> dict[str, Parsed]:
        """Parse recipes, {name: text}, each by itself but all in one go; return what came of each."""
        files = {name: self.path / "parse" / f"{name}_1.0.bb" for name in recipes}
        for name, text in recipes.items():
            self.bench.write(files[name], _complete(text))
        question = [{name: str(file) for name, file in files.items()}, list(variables)]
        answer = self.tinfoil(oe_conf.PARSE, json.dumps(question))
        return {name: Parsed(**found) for name, found in answer.items()}

    # -------------------------------------------------------------------------- products

    def tmp(self, config: str = "") -> Path:
        """Return TMPDIR, of a multiconfig if one is named."""
        return self.path / (f"tmp-{config}" if config else "tmp")

    def debs(self, config: str = "") -> dict[str, Deb]:
        """Return the built packages by name, which is also how OE-core's file names begin."""
        found = sorted(self.tmp(config).glob("deploy/deb/*/*.deb"))
        return {path.name.split("_")[0]: Deb(path) for path in found}

    def deb(self, name: str, config: str = "") -> Deb:
        """Return a built package."""
        found = self.debs(config)
        assert name in found, f"no package {name} was built, only {sorted(found)}"
        return found[name]

    def package(self, name: str, kind: str) -> Path:
        """Return the file of a built package, of its newest version, of a kind: deb, rpm or ipk."""
        separator = "-" if kind == "rpm" else "_"
        found = sorted(self.tmp().glob(f"deploy/{kind}/*/{name}{separator}[0-9]*.{kind}"))
        assert found, f"no {kind} package {name} was built"
        return found[-1]

    def image(self, recipe: str, suffix: str) -> Path:
        """Return the latest built file of an image, such as suffix "ext4"."""
        found = [path for path in self.tmp().glob(f"deploy/images/*/{recipe}-*.{suffix}") if path.is_symlink()]
        assert len(found) == 1, f"{recipe} has not one deployed {suffix}, but {found}"
        return found[0].resolve()

    def work(self, recipe: str, config: str = "") -> Path:
        """Return WORKDIR of a built recipe."""
        found = sorted(self.tmp(config).glob(f"work/*/{recipe}/*"))
        assert len(found) == 1, f"{recipe} has not one work directory, but {found}"
        return found[0]

    def log(self, recipe: str, task: str) -> str:
        """Return the log of a task's latest run."""
        return (self.work(recipe) / "temp" / f"log.{task}").read_text(errors="replace")

    def signatures(self, recipe: str) -> dict[str, str]:
        """Return {task: hash} of a recipe, as after the latest build or `bitbake -S none`."""
        stamps = self.tmp().glob(f"stamps/*/{recipe}/*")
        found = {}
        for stamp in sorted(stamps, key=lambda path: path.stat().st_mtime_ns):
            match = re.search(r"\.(do_\w+)\.(?:sigdata\.)?([0-9a-f]{64})", stamp.name)
            if match:
                found[match[1]] = match[2]
        return found

    # -------------------------------------------------------------------------- inside

    def stop(self) -> None:
        """Stop a BitBake server that is left in this build directory, and the tasks that it runs."""
        pid = _server(self.path)
        if not pid:
            return
        processes = [pid, *_descendants(pid)]
        _signal([pid], signal.SIGTERM)
        self._wait_for_server(3)
        _signal(processes, signal.SIGKILL)
        self._wait_for_server(5)

    def _run(self, argv: Sequence[str], output: IO[bytes], timeout: float) -> int | None:
        environment = self._environment()
        program = shutil.which(argv[0], path=environment["PATH"])
        assert program, f"no program {argv[0]} in {environment['PATH']}"
        who = self.bench.account
        identity: dict[str, Any] = {}
        if who.other:
            identity = {"user": who.uid, "group": who.gid, "extra_groups": []}
        process = subprocess.Popen(
            [program, *argv[1:]], cwd=self.path, env=environment, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True, umask=0o022, **identity)
        try:
            return int(process.wait(timeout))
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                self.stop()

    def _environment(self) -> dict[str, str]:
        bench = self.bench
        return {
            "PATH": f"{bench.bitbake / 'bin'}:{bench.core / 'scripts'}:{bench.account.path()}",
            "HOME": str(bench.home),
            "USER": bench.account.name,
            "LOGNAME": bench.account.name,
            "SHELL": "/bin/sh",
            "LANG": "en_US.UTF-8",
            "LC_ALL": "en_US.UTF-8",
            "BUILDDIR": str(self.path),
            "BB_SERVER_TIMEOUT": "60",
            **self.environment,
        }

    def _wait_for_server(self, seconds: float) -> None:
        """Wait until no server runs."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and _locked(self.path / "bitbake.lock"):
            time.sleep(0.05)

    def _write_layer(self, stand_ins: bool, virtualization: bool) -> None:
        conf = oe_conf.LAYER_CONF + (oe_conf.VIRTUALIZATION_CONF if virtualization else "")
        conf = oe_conf.fill(conf, series=self.bench.series)
        self.bench.write(self.test_layer / "conf" / "layer.conf", conf)
        if not stand_ins:
            return
        recipes = self.test_layer / "recipes-stand-in"
        target = oe_conf.fill(oe_conf.TARGET_RECIPE, packages=" ".join(oe_conf.TARGET_PACKAGES)) + oe_conf.SYSTEMD_FILE
        programs = {name: shutil.which(name, path=self.bench.account.path()) for name in ("dpkg", "systemctl", "xz")}
        xz = oe_conf.fill(oe_conf.XZ_RECIPE, **programs)
        apt = oe_conf.fill(oe_conf.APT_RECIPE, **programs)
        self.bench.write(recipes / "apt" / "apt-native_1.0.bb", _complete(apt))
        opkg = oe_conf.fill(oe_conf.OPKG_RECIPE, opkg_build=shutil.which("opkg-build", path=self.bench.account.path()) or "")
        self.bench.write(recipes / "opkg" / "opkg-utils-native_1.0.bb", _complete(opkg))
        self.bench.write(recipes / "pseudo" / "pseudo-native_1.0.bb", _complete(oe_conf.PSEUDO_RECIPE))
        self.bench.write(recipes / "xz" / "xz-native_1.0.bb", _complete(xz))
        self.bench.write(recipes / "target" / "target-packages_1.0.bb", _complete(target))
        if virtualization:
            target = oe_conf.fill(oe_conf.TARGET_RECIPE, packages=" ".join(oe_conf.VIRTUALIZATION_PACKAGES))
            recipe = self.test_layer / "recipes-virtualization" / "engines" / "virtualization-packages_1.0.bb"
            self.bench.write(recipe, _complete(target))

    def _stand_in_conf(self, recipes: Iterable[str]) -> str:
        kept = "|".join(recipes)
        return oe_conf.fill(
            oe_conf.STAND_IN_CONF, assume_provided=oe_conf.ASSUME_PROVIDED,
            pseudo=shutil.which("pseudo", path=self.bench.account.path()),
            mask="/openembedded-core/meta/recipes-" + (f"(?!{kept})" if kept else ""))

    def _write_conf(self, local_conf: str, layers: Sequence[Path]) -> None:
        text = oe_conf.fill(oe_conf.LOCAL_CONF, downloads=self.downloads)
        quirks = [line for series, line in oe_conf.QUIRKS.items() if series in self.bench.series.split()]
        self.bench.write(self.path / "conf" / "local.conf", "\n".join([text, *quirks, local_conf, ""]))
        folders = " ".join(str(layer) for layer in (self.bench.core / "meta", *layers, self.test_layer))
        text = oe_conf.fill(oe_conf.BBLAYERS_CONF, layers=folders)
        self.bench.write(self.path / "conf" / "bblayers.conf", text)


def _complete(text: str) -> str:
    """Return a recipe's text with the lines that OE-core wants in every recipe."""
    summary = "" if "SUMMARY" in text else 'SUMMARY = "A recipe of the tests"\n'
    return summary + ("" if re.search(r"^LICENSE\b", text, re.MULTILINE) else oe_conf.LICENCE) + text


def _remove(folder: Path) -> None:
    # Quicker than shutil.rmtree, and there are a lot of files.
    subprocess.run(["rm", "-rf", str(folder)], timeout=SECONDS, check=False)


def _remove_dead_benches(place: Path) -> None:
    """Remove what runs of ours that were killed have left: nobody holds their locks, nor works in them."""
    for lock in place.glob(f"{PREFIX}*/lock"):
        with contextlib.suppress(FileNotFoundError):  # another run may be at it
            if lock.stat().st_uid == os.geteuid() and not any(map(_locked, [lock, *lock.parent.glob("*/bitbake.lock")])):
                _remove(lock.parent)


def _layer_files(layer: Path) -> list[Path]:
    """Return the layer's files: what git tracks, and what it would if it were added."""
    argv = ["git", "-c", f"safe.directory={layer}", "-C", str(layer)]
    argv += ["ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(argv, capture_output=True, timeout=60, check=False)
    if listed.returncode == 0:
        found = [layer / os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    else:  # no git work tree, but an unpacked archive
        found = [path for path in layer.rglob("*") if not {".git", "__pycache__"} & set(path.parts)]
    return [path for path in found if path.is_symlink() or path.is_file()]


def _open_up(top: Path) -> None:
    """Let everybody read what is below a folder."""
    for folder, _, files in os.walk(top):
        os.chmod(folder, 0o755)
        for path in (Path(folder) / name for name in files):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode & 0o777 | 0o444)


def _locked(path: Path) -> bool:
    """Return True if a process holds a lock file."""
    try:
        with path.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _descendants(pid: int) -> list[int]:
    """Return the process ids of a process's children, their children and so on."""
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, children.read_text().split()):
                found += [child, *_descendants(child)]
    return found


def _signal(processes: Iterable[int], number: signal.Signals) -> None:
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _server(build: Path) -> int | None:
    """Return the process id of a build directory's BitBake server, None if none runs."""
    lock = build / "bitbake.lock"
    if not _locked(lock):
        return None
    try:
        pid = int(lock.read_text().split()[0])
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError, IndexError):
        return None
    return pid if os.fsencode(build) in command else None
