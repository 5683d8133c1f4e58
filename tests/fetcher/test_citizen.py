# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""What else fetchers do: status, clean, unpack, progress, versions; the host's skopeo; names and words."""

import json
import os
import shutil
import tarfile

import pytest

from dockin.target import unpacked
from support import faults, images, registry
from support.fetching import Bench
from support.fixtures import LOGIN
from support.imagefiles import documents


@pytest.fixture
def content(server, image):
    made = images.index([image("citizen", layers=3)])
    server.push(made, "citizen/app", "v1")
    return made


@pytest.fixture
def url(server):
    return f"docker://{server.address}/citizen/app;tag=v1"


# --------------------------------------------------------------------------------------- checkuri, cleanall


def test_checkstatus(bench, url, content):
    outcome = bench.run(url, ("checkstatus",), pin=content.digest)
    assert outcome.error is None, outcome.text
    assert not bench.files("*")


@pytest.mark.parametrize(
    "what", ["digest", *(pytest.param(one, marks=pytest.mark.one_library) for one in ("tag", "repository"))]
)
def test_checkstatus_of_what_is_not_there(bench, server, content, what):
    address = f"docker://{server.address}/citizen"
    name, pin = {
        "digest": (f"{address}/app;tag=v1", "sha256:" + "0" * 64),
        "tag": (f"{address}/app;tag=v9", None),
        "repository": (f"{address}/none;tag=v1", None),
    }[what]
    outcome = bench.run(name, ("checkstatus",), pin=pin)
    assert outcome.error_type == "FetchError", outcome.text
    assert "manifest unknown" in outcome.text


def test_checkstatus_downloads_no_blob(bench, own_server, content):
    own_server.push(content, "citizen/app", "v1")
    with own_server.recording() as requests:
        bench.run(f"docker://{own_server.address}/citizen/app;tag=v1", ("checkstatus",), pin=content.digest)
    assert requests
    assert not requests.blobs()


def test_clean(bench, url, content):
    outcome = bench.run(url, ("fetch",), ("clean",), pin=content.digest)
    assert outcome.error is None, outcome.text
    assert {path.suffix for path in bench.dl_dir.iterdir()} <= {".lock"}


@pytest.mark.one_library
def test_directories_with_brackets(bench, url, content):
    """A path is no pattern: what is done in d[ab] leaves da alone, also where an unpack fails."""
    neighbour, own = bench.directory / "da", bench.directory / "d[ab]"
    neighbour.mkdir()
    own.mkdir()
    bench.fetch(url, content.digest, DL_DIR=str(neighbour))
    (file,) = neighbour.glob("*.tar")
    part = neighbour / bench.partial(content).name
    part.mkdir()
    steps = [("fetch",), ("unpack", str(own)), ("clean",)]
    outcome = bench.run(url, *steps, pin=content.digest, DL_DIR=str(own))
    assert outcome.error is None, outcome.text
    (made,) = (own / "docker-images").glob("*.tar")
    archive = neighbour / "docker-images" / made.name
    archive.parent.mkdir()
    archive.write_text("a neighbour's")
    steps = [("fetch",), ("set", "DOCKIN_LAYERS", "rubbish"), ("unpack", str(own))]
    bad = bench.run(url, *steps, pin=content.digest, DL_DIR=str(own))
    assert bad.error_type == "UnpackError", bad.text
    assert file.exists()
    assert part.is_dir()
    assert archive.exists()
    assert not made.exists()


@pytest.mark.one_library
def test_clean_of_an_interrupted_fetch(bench, url, content):
    blobs = bench.partial(content) / "sha256"
    blobs.mkdir(parents=True)
    (blobs / content.hex).write_bytes(content.data)
    outcome = bench.run(url, ("clean",), pin=content.digest)
    assert outcome.error is None, outcome.text
    assert not bench.partial(content).exists()


def test_clean_of_nothing(bench, url, content):
    outcome = bench.run(url, ("clean",), pin=content.digest)
    assert outcome.error is None, outcome.text


@pytest.mark.one_library
def test_clean_keeps_other_images(bench, server, image, url, content):
    other = image("not-cleaned")
    server.push(other, "citizen/other", "v1")
    bench.fetch(f"docker://{server.address}/citizen/other;tag=v1", other.digest)
    bench.run(url, ("fetch",), ("clean",), pin=content.digest)
    assert other.hex in bench.only_file().name


# --------------------------------------------------------------------------------------------------- unpack


def test_unpack(bench, url, content, server):
    folder = bench.directory / "unpack"
    outcome = bench.run(url, ("fetch",), ("unpack", str(folder)), pin=content.digest)
    assert outcome.error is None, outcome.text
    stem = server.address.replace(":", "-") + "-citizen-app-v1"
    archive = folder / "docker-images" / f"{stem}.tar"
    with tarfile.open(archive) as tar:
        listed = json.load(tar.extractfile("manifest.json"))
    assert listed[0]["RepoTags"] == [f"{server.address}/citizen/app:v1"]
    wanted = content.manifest("linux/amd64")
    assert listed[0]["Config"].endswith(wanted.config.hex)
    path = folder / "docker-images" / f"{stem}.image.json"
    about = unpacked.read(str(path))
    assert about.source_digest == content.digest
    assert about.image_id == wanted.config.digest
    assert about.reference == f"{server.address}/citizen/app:v1"
    assert about.registry_digest == wanted.digest
    assert about.unpacked_size == archive.stat().st_size
    # An information file is written once, by do_compile.
    assert sorted(archive.parent.iterdir()) == [path, archive]


def test_unpack_without_network(bench, url, content):
    folder = bench.directory / "unpack"
    outcome = bench.run(
        url, ("fetch",), ("set", "BB_NO_NETWORK", "1"), ("unpack", str(folder)), pin=content.digest
    )
    assert outcome.error is None, outcome.text
    assert list((folder / "docker-images").glob("*.tar"))


# ------------------------------------------------------------------------------------------------- progress


def test_progress(bench, faulty):
    content = images.image([images.filler_layer("slow", 400_000), images.filler_layer("quick", 1000)])
    faulty.add(content, "progress/app", "v1")
    faulty.fail(content.layers[0].digest, faults.slow(2.2))
    outcome = bench.fetch(f"docker://{faulty.address}/progress/app;tag=v1", content.digest)
    shown = [event["progress"] for event in outcome.fired("TaskProgress")]
    assert len(shown) >= 2
    assert shown == sorted(shown)
    assert 0 < max(shown) <= 100
    assert any(0 < value < 100 for value in shown)


# ------------------------------------------------------------------------------------------------- versions


@pytest.mark.one_library
@pytest.mark.parametrize(
    ("tag", "version", "regex", "latest"),
    [
        ("1.36.1", "1.36.1", "", "1.37.0"),
        ("1.36.1-musl", "1.36.1", "", "1.36.2"),
        ("1.36", "1.36", "", "1.37"),
        ("1.36.1", "1.0", r"^(?P<pver>1\.36\.\d+)$", "1.36.10"),
        # A newer tag is no newer version of a recipe whose version is its own.
        ("latest", "1.0", "", ""),
        ("1.36.1", "1.0", "", ""),
    ],
)
def test_latest_version(bench, server, image, tag, version, regex, latest):
    made = image("versions")
    for name in (
        "1.36.1",
        "1.36.2-musl",
        "1.37.0",
        "1.36.10",
        "1.36.1-musl",
        "1.36",
        "1.37",
        "latest",
        "1.38.0-rc1",
    ):
        server.push(made, "citizen/versions", name)
    outcome = bench.run(
        f"docker://{server.address}/citizen/versions;tag={tag}",
        ("latest",),
        PV=version,
        UPSTREAM_CHECK_REGEX=regex,
        TARGET_ARCH="",
    )
    assert outcome.error is None, outcome.text
    assert outcome.values == [[latest, ""]]


@pytest.mark.one_library
@pytest.mark.parametrize("resolver", ["auto", "http"])
def test_latest_version_among_names_that_are_no_tags(bench, faulty, resolver):
    """Of which skopeo 1.17 and later refuses some, and with them the whole list."""
    answer = json.dumps({"name": "odd/app", "tags": ["1.0.0", *faults.NO_TAGS, 5, "1.0.1"]}).encode()
    faulty.fail("/tags/list", faults.status(200, {"Content-Type": "application/json"}, answer))
    url = f"docker://{faulty.address}/odd/app;tag=1.0.0"
    outcome = bench.run(url, ("latest",), PV="1.0.0", DOCKIN_RESOLVER=resolver)
    assert outcome.error is None, outcome.text
    assert outcome.values == [["1.0.1", ""]]


@pytest.mark.one_library
def test_latest_version_without_network(bench, faulty):
    outcome = bench.run(f"docker://{faulty.address}/citizen/app;tag=1.0", ("latest",), PV="1.0", BB_NO_NETWORK="1")
    assert outcome.error is None, outcome.text
    assert outcome.values == [["", ""]]
    assert not faulty.log


def test_latest_version_of_a_dead_registry_is_no_error(bench):
    outcome = bench.run(f"docker://{faults.closed_address()}/citizen/app;tag=1.0", ("latest",))
    assert outcome.error is None, outcome.text
    assert outcome.values == [["", ""]]


# ---------------------------------------------------------------------------------------- the host's skopeo


def without_skopeo(bench):
    """Return the environment of a host without skopeo."""
    folder = bench.directory / "programs"
    folder.mkdir()
    for name in ("sh", "env", "wget", "mv", "rm", "cp", "ln"):
        os.symlink(shutil.which(name), folder / name)
    return {"PATH": str(folder)}


def test_skopeo_is_missing(bench, url, content):
    bench.refuse(url, "skopeo", "install", pin=content.digest, environment=without_skopeo(bench))


def test_skopeo_is_missing_but_not_needed(bench, url, content):
    bench.fetch(url, content.digest)
    bench.fetch(url, content.digest, environment=without_skopeo(bench))


@pytest.mark.one_library
@pytest.mark.parametrize(
    ("says", "words"),
    [
        ("echo 'skopeo version 1.4.1'", ["1.4.1", "1.9.3", "too old"]),
        ("echo 'skopeo version 0.1.40'", ["0.1.40", "1.9.3"]),
        ("echo 'Hello'", ["version", "Hello"]),
        ("echo broken >&2; exit 127", ["127"]),
    ],
)
def test_skopeo_is_not_good_enough(bench, url, content, says, words):
    environment = bench.wrapper(
        "skopeo", f'[ "$1" = --version ] && {{ {says}; exit; }}\nexec {shutil.which("skopeo")} "$@"'
    )
    bench.refuse(url, *words, pin=content.digest, environment=environment)
    assert not bench.files()


@pytest.mark.one_library
def test_skopeo_of_the_build_goes_before_the_users(bench, url, content):
    """The user's PATH is only for what BitBake's does not have, such as credential helpers."""
    environment = bench.wrapper("skopeo", "exit 1")
    bench.fetch(url, content.digest, environment=environment, PATH=os.environ["PATH"])


@pytest.mark.one_library
def test_fetchcmd(bench, url, content):
    """FETCHCMD_docker names another skopeo, with arguments."""
    bench.wrapper("my-skopeo", f'shift\nexec {shutil.which("skopeo")} "$@"')
    bench.fetch(url, content.digest, FETCHCMD_docker=f"{bench.directory}/bin/my-skopeo --first")


@pytest.mark.one_library
def test_files_are_not_left_in_the_home(bench, url, content):
    bench.fetch(url, content.digest)
    left = [path for path in bench.home.rglob("*") if path.is_file() and "blob-info-cache" not in path.name]
    assert not left


# ------------------------------------------------------------------------------------------ names and words


def test_urls_are_written_out(bench):
    outcome = bench.run(
        "docker://busybox;tag=1 docker://org/app docker://localhost/a docker://MyACR.azurecr.io:443/o/a;tag=V1", ("urls",)
    )
    assert outcome.error is None, outcome.text
    assert outcome.values == [
        [
            "docker://docker.io/library/busybox;tag=1",
            "docker://docker.io/org/app;tag=latest",
            "docker://localhost/a;tag=latest",
            "docker://myacr.azurecr.io:443/o/a;tag=V1",
        ]
    ]


def test_case_of_the_registry(bench, secure_server, private_ca, image):
    """It is kept for the login, the certificates and the name on the target; networks, mirrors and DL_DIR know no case."""
    content = image("case")
    secure_server.push(content, "case/app", "v1")
    host = secure_server.address.replace("127.0.0.1", "LocalHost")
    url = f"docker://{host}/case/app;tag=v1"
    (bench.home / ".docker").mkdir()
    (bench.home / ".docker/config.json").write_text(LOGIN.auth_json(host))
    certificates = bench.home / ".config/containers/certs.d" / host
    private_ca.cert_dir(certificates)
    for name in ("localhost", "LOCALHOST"):
        bench.fetch(url, DOCKIN_TLS_VERIFY=None, BB_ALLOWED_NETWORKS=name)
        assert bench.only_file().name == f"docker_{host.lower().replace(':', '=')}+case+app=v1_linux-amd64.tar"
    bench.run(url, ("unpack", str(bench.directory / "unpack")), BB_NO_NETWORK="1")
    [described] = (bench.directory / "unpack").rglob("*.image.json")
    assert unpacked.read(str(described)).reference == f"{host}/case/app:v1"
    mirror = Bench(bench.runner, bench.directory / "mirrored")
    rule = f"docker://localhost:[0-9]+/(.*) file://{bench.dl_dir}/"
    mirror.fetch(url, BB_NO_NETWORK="1", PREMIRRORS=rule)
    assert content.digest in documents(mirror.only_file())
    bench.run(url, ("clean",))
    bench.refuse(url.lower(), "skopeo login", DOCKIN_TLS_VERIFY="0", BB_ALLOWED_NETWORKS="localhost")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("docker://docker.io/library/BusyBox;tag=1", ["BusyBox", "lower case"]),
        ("docker://docker.io/library/busybox;tag=a$b", ["a$b", "tag"]),
        ("docker://docker.io/library/busybox;tag=-x", ["-x", "tag"]),
        ("docker://docker.io/library/busybox;tag=" + "x" * 129, ["tag", "128"]),
        ("docker://docker.io/library/busybox;digest=sha256:12", ["sha256:12", "64"]),
        ("docker://docker.io/library/busybox;digest=md5:" + "0" * 32, ["md5:", "64"]),
        ("docker://docker.io/library/busybox:1.36;tag=1.36", [";tag="]),
        ("docker://docker.io/library/busybox;tag=1;tag=2", ["tag"]),
        ("docker://docker.io/library/busybox;arch=arm", ["arch", ";platform="]),
        ("docker://docker.io/library/busy%20box;tag=1", ["box"]),
        ("docker://docker.io/library/../../etc/passwd;tag=1", [".."]),
        ("docker://docker.io/library/$(id);tag=1", ["$(id)"]),
        ("docker://docker.io/library/a`id`b;tag=1", ["`id`"]),
        ('docker://docker.io/library/a"b;tag=1', ['a"b']),
        ("docker://docker.io/library/a%n;tag=1", ["%n"]),
        ("docker://", ["docker://"]),
        ("docker://docker.io/library/busybox;name=a/b", ["a/b"]),
    ],
)
def test_malformed_entries(bench, entry, words):
    outcome = bench.run(entry, ("urls",))
    if outcome.error is None:  # BitBake has taken it apart so that nothing hostile is left
        pytest.fail(f"accepted as {outcome.values}")
    assert outcome.error_type in ("ParameterError", "MalformedUrl"), outcome.text
    if outcome.error_type == "ParameterError":
        for word in words:
            assert word in outcome.error


@pytest.mark.parametrize("pin", ["12ab", "G" * 64, "A" * 64, "sha256:" + "0" * 64])
def test_malformed_pin(bench, url, content, pin):
    job = bench.job(url, ("urls",))
    job.flags = {"SRC_URI": {"sha256sum": pin}}
    outcome = bench.runner.run(job, bench.directory / "pin")
    assert outcome.error_type == "ParameterError"
    assert pin in outcome.error
    assert "SRC_URI[sha256sum]" in outcome.error


@pytest.mark.one_library
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DOCKIN_FETCH_TIMEOUT", "soon"),
        ("DOCKIN_FETCH_RETRIES", "-1"),
        ("DOCKIN_TLS_VERIFY", "perhaps"),
    ],
)
def test_malformed_variables(bench, url, content, variable, value):
    bench.refuse(url, variable, value, pin=content.digest, **{variable: value})


@pytest.mark.one_library
@pytest.mark.parametrize("name", ["unauthorized/certificate-signature", "denied/not-found", "app/v1.500.403"])
def test_words_of_errors_in_a_name_mislead_nobody(bench, faulty, image, name):
    """skopeo repeats the name in its errors, and those are told apart by words."""
    made = image("words")
    faulty.add(made, name, "v1")
    outcome = bench.refuse(
        f"docker://{faulty.address}/{name};tag=v429", "no such tag or digest", DOCKIN_FETCH_RETRIES="3"
    )
    assert "skopeo login" not in outcome.text
    assert not [event for event in outcome.log if "trying again" in event[1]]


@pytest.mark.one_library
@pytest.mark.parametrize(
    "folder", ["with space", "quote'd", "dollar$HOME", "semi;colon", "per%cent", "ümlaut"]
)
def test_strange_dl_dir(bench, url, content, folder):
    strange = bench.directory / folder
    bench.fetch(url, content.digest, DL_DIR=str(strange))
    assert len(list(strange.glob("*.tar"))) == 1


@pytest.mark.one_library
def test_user_without_a_home(bench, url, content):
    bench.fetch(url, content.digest, environment={"HOME": "/nonexistent"})


@pytest.mark.one_library
def test_proxy_reaches_skopeo(bench, faulty, image):
    """http_proxy is used for a host that is not local: the proxy sees the request."""
    made = image("proxied")
    faulty.add(made, "proxied/app", "v1")
    conf = registry.write_registries_conf(
        bench.directory / "registries.conf", "registry.invalid", "proxied.example"
    )
    bench.run(
        "docker://proxied.example/proxied/app;tag=v1",
        pin=made.digest,
        DOCKIN_REGISTRIES_CONF=str(conf),
        DOCKIN_TLS_VERIFY=None,
        environment={"http_proxy": f"http://{faulty.address}"},
    )
    assert any("registry.invalid" in request.path for request in faulty.log)
