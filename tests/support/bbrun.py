# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Run BitBake's own library without its server: fetch URLs, parse a recipe, execute its tasks.

    library = bbrun.wheel()                          # or one of bbrun.libraries()
    with bbrun.Runner(library) as runner:
        job = bbrun.Job({"DL_DIR": str(downloads), "SRC_URI": "docker://…"}, steps=[["fetch"]])
        outcome = runner.run(job, directory)
        assert outcome.error is None, outcome.text

The library is that of the wheel bitbake-setup (2.19.0 has no bin/, no hashserv and no prserv: stand-ins for
the latter two are enough, as nothing here signs or serves), or that of a git checkout. The real layer.conf is
read, with its addpylib, so the fetcher gets registered as in a build. A Runner keeps one process that has all
this loaded and forks for each job: a job costs milliseconds, and is a process that can be killed.

What surrounds a recipe in OE-core is far too much for a quick test; write_configuration() gives a handful of
lines of configuration and classes instead, under which BitBake's parser and task code run as they are. The
environment is cleaned as BitBake cleans it, with the user's own kept in BB_ORIGENV.

As a script, for the demo where OE-core is not to be had:

    python3 -m support.bbrun --recipe FILE --build DIR [--set NAME=VALUE]… TASK…
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import logging
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import types
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Mapping, Sequence

from support import cache, images

LAYER = Path(__file__).resolve().parent.parent.parent
JOB_SECONDS = 60
RETRY_SECONDS = 0.1
_READY_SECONDS = 60

# OE-core's variables that the layer reads, for a machine like qemux86-64. UNPACKDIR came after BitBake 2.8.
BITBAKE_CONF = """
TOPDIR ?= "${@bb.utils.which('', '')}"
TMPDIR ?= "${TOPDIR}/tmp"
DL_DIR ?= "${TOPDIR}/downloads"
BASE_WORKDIR = "${TMPDIR}/work"
PN = "${@bb.parse.vars_from_file(d.getVar('FILE', False), d)[0] or 'defaultpkgname'}"
PV = "${@bb.parse.vars_from_file(d.getVar('FILE', False), d)[1] or '1.0'}"
PR = "r0"
PF = "${PN}-${PV}-${PR}"
BPN = "${PN}"
BP = "${BPN}-${PV}"
WORKDIR = "${BASE_WORKDIR}/${PN}/${PV}"
T = "${WORKDIR}/temp"
D = "${WORKDIR}/image"
B = "${S}"
S = "${WORKDIR}/${BP}"
FILE_DIRNAME = "${@os.path.dirname(d.getVar('FILE', False) or '')}"
FILESPATH = "${FILE_DIRNAME}/${BP}:${FILE_DIRNAME}/${BPN}:${FILE_DIRNAME}/files:${FILE_DIRNAME}"
STAMPS_DIR = "${TMPDIR}/stamps"
STAMP = "${STAMPS_DIR}/${PN}/${PV}"
STAMPCLEAN = "${STAMPS_DIR}/${PN}/*"
PERSISTENT_DIR = "${TMPDIR}/cache"
CACHE = "${TMPDIR}/cache"
BB_CACHEDIR = "${TMPDIR}/cache"
BB_SIGNATURE_HANDLER = "noop"
BB_STRICT_CHECKSUM ?= "1"
BB_NUMBER_THREADS = "2"
BB_HASH_CODEPARSER_VALS = "LOGFIFO=/ T=/ WORKDIR=/ DL_DIR=/"
BB_DEFAULT_TASK = "install"

TARGET_OS ?= "linux"
TARGET_ARCH ?= "x86_64"
TUNE_FEATURES ?= "m64 core2"
MACHINE ?= "qemux86-64"
MACHINEOVERRIDES ?= "${MACHINE}"
DISTRO_FEATURES ?= "systemd usrmerge"
HOSTTOOLS = "bash sh xz zstd gzip"
COMMON_LICENSE_DIR = "${TOPDIR}/licenses"
LICENSE_PATH ?= ""
OVERRIDES = "${TARGET_OS}:pn-${PN}:${MACHINEOVERRIDES}:forcevariable"

prefix = "/usr"
exec_prefix = "/usr"
base_prefix = ""
bindir = "${exec_prefix}/bin"
sbindir = "${exec_prefix}/sbin"
datadir = "${prefix}/share"
sysconfdir = "/etc"
localstatedir = "/var"
nonarch_libdir = "${prefix}/lib"
systemd_unitdir = "${nonarch_libdir}/systemd"
systemd_system_unitdir = "${systemd_unitdir}/system"
PACKAGES = "${PN}"
FILES:${PN} = ""
SYSTEMD_AUTO_ENABLE ??= "enable"

PATH[export] = "1"
LC_ALL = "C"
export LC_ALL
"""

BASE_CLASS = """
addtask fetch
do_fetch[dirs] = "${DL_DIR}"
do_fetch[network] = "1"
python base_do_fetch() {
    entries = (d.getVar("SRC_URI") or "").split()
    if entries:
        try:
            bb.fetch2.Fetch(entries, d).download()
        except bb.fetch2.BBFetchException as error:
            bb.fatal(str(error))
}

addtask unpack after do_fetch
do_unpack[dirs] = "${DOCKIN_TEST_UNPACKDIR}"
python base_do_unpack() {
    entries = (d.getVar("SRC_URI") or "").split()
    if entries:
        bb.fetch2.Fetch(entries, d).unpack(d.getVar("DOCKIN_TEST_UNPACKDIR"))
}

addtask patch after do_unpack
do_patch[noexec] = "1"
do_patch() {
    :
}
addtask configure after do_patch
base_do_configure() {
    :
}
addtask compile after do_configure
base_do_compile() {
    :
}
addtask install after do_compile
do_install[dirs] = "${B}"
do_install[cleandirs] = "${D}"
base_do_install() {
    :
}
addtask build after do_install
do_build[noexec] = "1"
do_build() {
    :
}

# The few words that shell tasks call, which OE-core has in logging.bbclass.
bbnote() {
    echo "NOTE: $*"
}
bbwarn() {
    echo "WARNING: $*"
}
bbfatal() {
    echo "ERROR: $*"
    exit 1
}

EXPORT_FUNCTIONS do_fetch do_unpack do_configure do_compile do_install
"""


class RunError(Exception):
    """BitBake's library can't be had or not be started; what is wrong with a recipe is in an Outcome."""


@dataclass(frozen=True)
class Library:
    """A directory with the package bb. str() is its name, for test ids."""

    name: str
    path: Path

    def __str__(self) -> str:
        return self.name

    @property
    def unavailable(self) -> str | None:
        """Return why it can't be used, None if it can be."""
        if (self.path / "bb" / "fetch2" / "__init__.py").exists():
            return None
        return f"{self.name}: no BitBake library in {self.path}; run `make setup`"


@dataclass
class Job:
    """What is to be done in one process.

    steps, each a list of a name and its arguments, done until one fails:
        ["fetch"]                    all of SRC_URI, as do_fetch does
        ["unpack", DIRECTORY]        all of SRC_URI into DIRECTORY
        ["checkstatus"] ["clean"]    as `-c checkuri` and `-c cleanall` do
        ["localpaths"]               -> list of paths
        ["urls"]                     -> the URLs as the fetcher has rewritten them
        ["latest"]                   -> what latest_versionstring() gives for the first entry
        ["set", NAME, VALUE]         a variable of the steps that follow
        ["get", NAME]                -> a variable's value, expanded
        ["configure", FILE]          read a configuration file, such as a local.conf
        ["parse", RECIPE]            the steps that follow use the recipe's data
        ["task", "do_fetch"]         execute a task of the recipe, with what surrounds it
        ["sleep", SECONDS]
        ["become", UID]              another user does the steps that follow; for root
    """

    variables: Mapping[str, str] = field(default_factory=dict)
    steps: Sequence[Sequence[Any]] = (("fetch",),)
    environment: Mapping[str, str] = field(default_factory=dict)
    """The user's environment, before BitBake cleans it."""
    flags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Flags of variables: {"SRC_URI": {"sha256sum": …}}."""


@dataclass(frozen=True)
class Outcome:
    """What a job did."""

    values: list[Any]
    """The values of the steps that were done."""
    error: str | None
    """The message of the exception that ended the job."""
    error_type: str | None
    """The name of its class."""
    log: list[tuple[str, str]]
    """(level, message) of everything that was logged, debug messages included."""
    events: list[dict[str, Any]]
    """BitBake's events, with their class under "event"."""
    output: str
    """What was printed."""

    @property
    def text(self) -> str:
        """Everything that a user could see, in one string."""
        return "\n".join(
            [*(message for _, message in self.log), self.output, f"{self.error_type}: {self.error}"]
        )

    def messages(self, level: str) -> list[str]:
        """Return the messages of a level: "DEBUG", "INFO", "WARNING", "ERROR" …"""
        return [message for one, message in self.log if one == level]

    @property
    def warnings(self) -> list[str]:
        return self.messages("WARNING")

    def fired(self, name: str) -> list[dict[str, Any]]:
        """Return the events of a class."""
        return [event for event in self.events if event["event"] == name]


class Running:
    """A job under way."""

    def __init__(self, pid: int, directory: Path):
        self.pid = pid
        self.directory = directory
        try:
            self._handle: int | None = os.pidfd_open(pid)
        except ProcessLookupError:
            self._handle = None  # it has ended already

    def alive(self) -> bool:
        """Return whether the process is still there."""
        return self._handle is not None and not select.select([self._handle], [], [], 0)[0]

    def kill(self, number: int = signal.SIGKILL, group: bool = True) -> None:
        """Send a signal to the job and, with group, to what it started: each job is a process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number) if group else os.kill(self.pid, number)

    def wait(self, seconds: float = JOB_SECONDS) -> Outcome | None:
        """Wait for the end and return the outcome, None if the job was killed before it could tell."""
        if self._handle is not None:
            ended = select.select([self._handle], [], [], seconds)[0]
            if not ended:
                self.kill()
                raise RunError(
                    f"the job in {self.directory} did not end in {seconds} s and was killed: {self._said()}"
                )
            os.close(self._handle)
            self._handle = None
        result = self.directory / "result.json"
        if not result.exists():
            return None
        content = json.loads(result.read_text())
        return Outcome(
            content["values"],
            content["error"],
            content["error_type"],
            [(level, message) for level, message in content["log"]],
            content["events"],
            self._said(),
        )

    def close(self) -> None:
        """Kill what is left of the job."""
        if self._handle is not None:
            self.kill()
            select.select([self._handle], [], [], 5)
            os.close(self._handle)
            self._handle = None

    def _said(self) -> str:
        said = self.directory / "output"
        return said.read_text(errors="replace") if said.exists() else ""


class Runner:
    """One process with a BitBake library and this layer loaded, which forks for each job."""

    def __init__(self, library: Library, layer: Path = LAYER):
        if library.unavailable:
            raise RunError(library.unavailable)
        self.library = library
        self.layer = layer
        self._process: subprocess.Popen[str] | None = None
        self._directory: Path | None = None
        self._started: list[Running] = []

    def __enter__(self) -> Runner:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the process and load the library."""
        self._directory = Path(tempfile.mkdtemp(prefix="dockin-bbrun-"))
        path = [str(self.library.path), str(LAYER / "tests")]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONWARNINGS": "ignore",
        }  # BitBake 2.8 on a newer Python warns a lot
        with open(self._directory / "stderr", "wb") as errors:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "support.bbrun",
                    "--serve",
                    str(self._directory),
                    "--layer",
                    str(self.layer),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
                start_new_session=True,
                cwd=self._directory,
            )
        if self._answer(_READY_SECONDS) != "ready":
            said = (self._directory / "stderr").read_text(errors="replace")
            self.stop()
            raise RunError(f"BitBake's library {self.library.path} could not be loaded:\n{said[-4000:]}")

    def stop(self) -> None:
        """Stop the process, and kill jobs that are still under way."""
        for running in self._started:
            running.close()
        self._started.clear()
        if self._process:
            assert self._process.stdin and self._process.stdout
            self._process.stdin.close()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(5)
            self._process.stdout.close()
            self._process = None
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None

    def begin(self, job: Job, directory: Path) -> Running:
        """Start a job; directory gets its files and is made."""
        directory.mkdir(parents=True, exist_ok=True)
        for name in ("result.json", "output"):
            (directory / name).unlink(missing_ok=True)
        (directory / "job.json").write_text(json.dumps(asdict(job)))
        assert self._process and self._process.stdin
        self._process.stdin.write(f"{directory}\n")
        self._process.stdin.flush()
        answer = self._answer(20)
        if not answer.isdigit():
            raise RunError(f"no process for the job in {directory}: {answer!r}")
        running = Running(int(answer), directory)
        self._started = [one for one in self._started if one.alive()] + [running]
        return running

    def run(self, job: Job, directory: Path, seconds: float = JOB_SECONDS) -> Outcome:
        """Do a job and return its outcome. Raises RunError if the process died without one."""
        outcome = self.begin(job, directory).wait(seconds)
        if outcome is None:
            said = directory / "output"
            raise RunError(
                f"the job in {directory} died: {said.read_text() if said.exists() else 'no output'}"
            )
        return outcome

    def _answer(self, seconds: float) -> str:
        assert self._process and self._process.stdout
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            return f"no answer in {seconds} s"
        return self._process.stdout.readline().strip()


def wheel() -> Library:
    """Return the library of the wheel bitbake-setup: in this interpreter, or in the cache's venv."""
    spec = importlib.util.find_spec("bb")
    if spec and spec.origin:
        return Library("bitbake-2.19-wheel", Path(spec.origin).parent.parent)
    found = sorted((cache.directory() / "venv" / "lib").glob("python3*/site-packages"))
    return Library("bitbake-2.19-wheel", found[0] if found else cache.directory() / "venv")


def libraries() -> list[Library]:
    """Return the wheel's library and those of the releases' checkouts, whether they are there or not.

    master's checkout is left out: the wheel is of its version.
    """
    return [
        wheel(),
        *(
            Library(f"bitbake-{release.name}", release.bitbake.path / "lib")
            for release in cache.releases()
            if release.name != "master"
        ),
    ]


def write_configuration(directory: Path, layer: Path, unpackdir: bool) -> None:
    """Write the configuration and classes that stand for OE-core's, for recipes of the layer."""
    (directory / "conf").mkdir(parents=True, exist_ok=True)
    (directory / "classes").mkdir(exist_ok=True)
    where = 'UNPACKDIR = "${WORKDIR}/sources"\nDOCKIN_TEST_UNPACKDIR = "${UNPACKDIR}"\n'
    (directory / "conf" / "bitbake.conf").write_text(
        BITBAKE_CONF + (where if unpackdir else 'DOCKIN_TEST_UNPACKDIR = "${WORKDIR}"\n')
    )
    (directory / "classes" / "base.bbclass").write_text(BASE_CLASS)
    for name in ("deploy", "features_check", "systemd"):
        (directory / "classes" / f"{name}.bbclass").write_text("")


# ------------------------------------------------------------------------------------- inside the process


def _serve(directory: Path, layer: Path) -> int:
    """Load the library, then fork for each directory named on standard input."""
    base = _load(directory, layer)
    signal.signal(signal.SIGCHLD, _reap)
    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                _child(base, Path(line.strip()))
                status = 0
            finally:
                os._exit(status)
        print(child, flush=True)
    return 0


def _reap(*_: object) -> None:
    """Take note of children that have ended; who started a job waits for its pidfd."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _load(directory: Path, layer: Path) -> Any:
    """Return the base datastore: the small bitbake.conf, the real layer.conf with its addpylib."""
    stand_ins()
    import bb
    import bb.build
    import bb.data
    import bb.event
    import bb.fetch2
    import bb.parse
    import bb.siggen
    import bb.utils

    unpackdir = tuple(int(part) for part in bb.__version__.split(".")[:2]) > (2, 8)
    write_configuration(directory, layer, unpackdir)
    base = bb.data.init()
    base.setVar("TOPDIR", str(directory))
    base.setVar("BBPATH", f"{directory}:{layer}")
    base = bb.parse.handle(str(directory / "conf" / "bitbake.conf"), base)
    base.setVar("LAYERDIR", str(layer))
    base = bb.parse.handle(str(layer / "conf" / "layer.conf"), base, baseconfig=True)
    base.delVar("LAYERDIR")
    base.setVar("BBPATH", f"{directory}:{layer}")
    bb.fetch2.fetcher_init(base)
    if "dockin" not in bb.utils._context:
        raise RunError(f"{layer}/conf/layer.conf did not load the package dockin")
    # What tests look at is that there are retries, and how many.
    sys.modules["dockin.registry.retries"]._FIRST_DELAY = RETRY_SECONDS
    return base


def stand_ins() -> None:
    """Give bb what it imports and the wheel does not have; where a checkout has it, that is used."""
    for name, attributes in (
        ("hashserv", {"HashConnectionError": OSError}),
        ("hashserv.client", {}),
        ("prserv", {}),
        ("prserv.serv", {}),
    ):
        if importlib.util.find_spec(name.partition(".")[0]) is None or name.partition(".")[0] in _FAKED:
            _FAKED.add(name.partition(".")[0])
            module = types.ModuleType(name)
            module.__dict__.update(attributes)
            module.__spec__ = importlib.util.spec_from_loader(name, loader=None)
            sys.modules[name] = module


_FAKED: set[str] = set()


def _child(base: Any, directory: Path) -> None:
    """Do the job in directory and write its result."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job has it ignored
    os.setsid()
    with open(os.devnull, "rb") as nothing, open(directory / "output", "wb") as said:
        os.dup2(nothing.fileno(), 0)
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    os.chdir(directory)
    job = json.loads((directory / "job.json").read_text())
    recorder = _Recorder()
    values: list[Any] = []
    error: BaseException | None = None
    try:
        for value in _steps(base, job, recorder):
            values.append(value)
    except BaseException as caught:  # noqa: BLE001  whatever it is, it belongs into the result
        error = caught
        traceback.print_exc()
    os.seteuid(os.getuid())
    # The message of a task that failed is in the log; bb.build.FuncFailed has only the task's name.
    result = {
        "values": values,
        "error": None if error is None else str(error),
        "error_type": None if error is None else type(error).__name__,
        "log": recorder.log,
        "events": recorder.events,
    }
    sys.stdout.flush()
    sys.stderr.flush()
    partial = directory / "result.part"
    partial.write_text(json.dumps(result, default=str))
    partial.replace(directory / "result.json")


class _Recorder(logging.Handler):
    """Keep what is logged and what events are fired."""

    def __init__(self) -> None:
        super().__init__(1)
        self.log: list[tuple[str, str]] = []
        self.events: list[dict[str, Any]] = []

    def install(self) -> None:
        import bb.event

        bb.event.worker_pid = (
            os.getpid()
        )  # as bitbake-worker: all messages come through, whatever their level
        logger = logging.getLogger("BitBake")
        logger.setLevel(1)
        logger.addHandler(self)
        bb.event.worker_fire = lambda event, d: self.events.append(_describe(event))

    def emit(self, record: logging.LogRecord) -> None:
        # BitBake pickles it for its user interface, which can't import the layer's package, and would wait for ever.
        for argument in record.args or ():
            assert not type(argument).__module__.startswith("dockin"), f"{record.msg!r} is logged with {argument!r}"
        level = record.levelname if record.levelno > logging.DEBUG else "DEBUG"
        self.log.append((level, record.getMessage()))


def _describe(event: Any) -> dict[str, Any]:
    plain = {
        key: value
        for key, value in vars(event).items()
        if isinstance(value, (str, int, float, dict, list, type(None)))
    }
    return {"event": type(event).__name__, **plain}


def _steps(base: Any, job: dict[str, Any], recorder: _Recorder) -> Any:
    """Do the steps of a job and yield their values."""
    import bb
    import bb.build
    import bb.data
    import bb.fetch2
    import bb.parse
    import bb.siggen

    os.environ.clear()
    os.environ.update({"PATH": os.defpath, **job["environment"]})
    original = bb.data.init()
    for name, value in os.environ.items():
        original.setVar(name, value)
    bb.utils.clean_environment()
    d = bb.data.createCopy(base)
    d.setVar("BB_ORIGENV", original)
    d.setVar("PATH", os.environ["PATH"])
    for name, value in os.environ.items():
        if name in ("HOME", "SSL_CERT_FILE", "SSL_CERT_DIR") or name.lower().endswith("_proxy"):
            d.setVar(name, value)
    for name, value in job["variables"].items():
        d.setVar(name, value)
    for name, flags in job["flags"].items():
        for flag, value in flags.items():
            d.setVarFlag(name, flag, value)
    recorder.install()
    for step, *arguments in job["steps"]:
        if step == "parse":
            d = _parse(d, *arguments)
            # What the job sets is like a line in local.conf that comes last.
            for name, value in job["variables"].items():
                d.setVar(name, value)
            yield d.getVar("PN")
        elif step == "configure":
            d = bb.parse.handle(*arguments, d, True)
            yield None
        else:
            yield _STEPS[step](d, *arguments)


def _parse(d: Any, recipe: str) -> Any:
    import bb.parse
    import bb.siggen

    d = d.createCopy()
    d.setVar("__bbclasstype", "recipe")
    d.setVar("FILE", recipe)
    bb.parse.siggen = bb.siggen.init(d)
    bb.parse.handle("classes/base.bbclass", d, True)
    parsed = bb.parse.handle(recipe, d)[""]
    # What a worker gets from the server, for the stamps of the tasks it has done.
    stamps = types.SimpleNamespace(stamp={recipe: parsed.getVar("STAMP")}, stamp_extrainfo={recipe: {}})
    bb.parse.siggen.datacaches = {"": stamps}
    return parsed


def _fetcher(d: Any) -> Any:
    import bb.fetch2

    return bb.fetch2.Fetch((d.getVar("SRC_URI") or "").split(), d)


def _latest(d: Any) -> Any:
    fetcher = _fetcher(d)
    data = fetcher.ud[fetcher.urls[0]]
    return data.method.latest_versionstring(data, d)


def _task(d: Any, task: str) -> str:
    import bb.build

    copy = d.createCopy()
    copy.setVar("BB_CURRENTTASK", task[3:])
    copy.setVar("BB_TASKHASH", "0")
    status = bb.build.exec_task(d.getVar("FILE"), task, copy, False)
    if status:
        logs = sorted(Path(d.getVar("T")).glob(f"log.{task}*"))
        raise RunError(f"{task} failed:\n{logs[-1].read_text(errors='replace') if logs else ''}")
    return task


_STEPS = {
    "fetch": lambda d: _fetcher(d).download(),
    "unpack": lambda d, directory: _fetcher(d).unpack(directory),
    "checkstatus": lambda d: _fetcher(d).checkstatus(),
    "clean": lambda d: _fetcher(d).clean(),
    "localpaths": lambda d: _fetcher(d).localpaths(),
    "urls": lambda d: [data.url for data in _fetcher(d).ud.values()],
    "latest": _latest,
    "set": lambda d, name, value: d.setVar(name, value),
    "get": lambda d, name: d.getVar(name),
    "task": _task,
    "sleep": lambda d, seconds: time.sleep(seconds),
    "become": lambda d, uid: os.seteuid(uid),
}


def run_recipe(
    recipe: Path,
    build: Path,
    tasks: Sequence[str],
    variables: Mapping[str, str] | None = None,
    library: Library | None = None,
    layer: Path = LAYER,
    seconds: float = 600,
) -> Outcome:
    """Parse a recipe of the layer and execute tasks of it, such as do_fetch, in the directory build.

    Images are those for this machine, unless variables say otherwise.
    """
    build = build.absolute()
    set_up = {"TOPDIR": str(build), "DOCKIN_PLATFORM": images.host_architecture(), **(variables or {})}
    job = Job(
        set_up, [["parse", str(recipe.absolute())], *(["task", task] for task in tasks)], dict(os.environ)
    )
    with Runner(library or wheel(), layer) as runner:
        return runner.run(job, build / "job", seconds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tasks of a recipe; or serve a Runner."""
    parser = argparse.ArgumentParser(description="Run tasks of a recipe with BitBake's library alone.")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument(
        "--layer", type=Path, default=LAYER, help="the layer (default: the one this file is in)"
    )
    parser.add_argument("--recipe", type=Path)
    parser.add_argument("--build", type=Path, help="the directory that stands for the build directory")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a variable, as in local.conf"
    )
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="such as do_fetch do_unpack do_install")
    options = parser.parse_args(arguments)
    if options.serve:
        return _serve(options.serve, options.layer)
    if not options.recipe or not options.build or not options.tasks:
        parser.error("--recipe, --build and a task are needed")
    variables = dict(setting.partition("=")[::2] for setting in options.set)
    outcome = run_recipe(options.recipe, options.build, options.tasks, variables, layer=options.layer)
    for level, message in outcome.log:
        if level not in ("DEBUG",):
            print(f"{level}: {message}")
    if outcome.error:
        print(f"{outcome.error_type}: {outcome.error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
