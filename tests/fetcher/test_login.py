# Copyright (c) 2026 meta-dockin contributors
# SPDX-License-Identifier: MIT
"""Registries with TLS and a password; where logins are looked for; and that no secret gets out."""

import base64
import json
import os

import pytest

from dockin.image import reference
from dockin.registry import skopeo
from dockin.registry.resolver import ResolveError, Resolver
from support import faults, registry
from support.fixtures import LOGIN
from support.imagefiles import documents


@pytest.fixture
def private(secure_server, private_ca, bench, image):
    """An image behind TLS and a password: (bench, url, image, variables for TLS)."""
    content = image("private")
    secure_server.push(content, "private/app", "v1")
    url = f"docker://{secure_server.address}/private/app;tag=v1"
    certificates = private_ca.cert_dir(bench.directory / "certs")
    return bench, url, content, {"DOCKIN_TLS_VERIFY": None, "DOCKIN_CERT_DIR": str(certificates)}


@pytest.fixture
def login_file(secure_server):
    """Write a login as `skopeo login` does."""

    def write(path, login=LOGIN, address=secure_server.address):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(login.auth_json(address))
        path.chmod(0o600)
        return path

    return write


def test_dockin_authfile(private, login_file):
    bench, url, content, tls = private
    authfile = login_file(bench.directory / "ci" / "auth.json")
    bench.fetch(url, content.digest, DOCKIN_AUTHFILE=str(authfile), **tls)
    assert content.digest in documents(bench.only_file())


# The user's runtime directory is where `skopeo login` writes.
@pytest.mark.parametrize(
    "where",
    [
        "xdg_runtime",
        *(
            pytest.param(one, marks=pytest.mark.one_library)
            for one in ("home", "xdg_config", "docker_config", "docker_home", "auth_file")
        ),
    ],
)
def test_login_of_the_user(private, login_file, where):
    """BitBake filters these variables out of the environment; the user's login is found all the same."""
    bench, url, content, tls = private
    folder = bench.directory / "elsewhere"
    path, environment = {
        "home": (bench.home / ".config/containers/auth.json", {}),
        "docker_home": (bench.home / ".docker/config.json", {}),
        "xdg_config": (folder / "containers/auth.json", {"XDG_CONFIG_HOME": str(folder)}),
        "docker_config": (folder / "config.json", {"DOCKER_CONFIG": str(folder)}),
        "xdg_runtime": (folder / "containers/auth.json", {"XDG_RUNTIME_DIR": str(folder)}),
        "auth_file": (folder / "any.json", {"REGISTRY_AUTH_FILE": str(folder / "any.json")}),
    }[where]
    login_file(path)
    bench.fetch(url, content.digest, environment=environment, **tls)
    assert content.digest in documents(bench.only_file())


@pytest.mark.one_library
def test_credential_helper(private, secure_server):
    bench, url, content, tls = private
    answer = (
        f'{{"ServerURL":"{secure_server.address}","Username":"{LOGIN.user}","Secret":"{LOGIN.password}"}}'
    )
    environment = bench.wrapper("docker-credential-testhelper", f"cat >/dev/null\nprintf '%s' '{answer}'")
    config = bench.home / ".docker" / "config.json"
    config.parent.mkdir()
    config.write_text(f'{{"credHelpers": {{"{secure_server.address}": "testhelper"}}}}')
    outcome = bench.fetch(url, content.digest, environment=environment, **tls)
    assert LOGIN.password not in outcome.text


@pytest.mark.one_library
def test_credential_helper_that_fails(private, secure_server):
    bench, url, content, tls = private
    environment = bench.wrapper(
        "docker-credential-testhelper", "cat >/dev/null\necho 'the vault is sealed'\nexit 1"
    )
    config = bench.home / ".docker" / "config.json"
    config.parent.mkdir()
    config.write_text(f'{{"credHelpers": {{"{secure_server.address}": "testhelper"}}}}')
    bench.refuse(
        url,
        "the vault is sealed",
        "credential helper",
        str(config),
        pin=content.digest,
        environment=environment,
        **tls,
    )


def test_without_a_login_the_files_looked_at_are_named(private):
    bench, url, content, tls = private
    outcome = bench.refuse(
        url,
        "skopeo login",
        "DOCKIN_AUTHFILE",
        f"{bench.home}/.config/containers/auth.json",
        f"{bench.home}/.docker/config.json",
        "not there",
        pin=content.digest,
        **tls,
    )
    assert outcome.error_type == "FetchError"
    assert not bench.files("*")[1:]


@pytest.mark.one_library
def test_file_without_a_login_for_this_registry(private, login_file):
    bench, url, content, tls = private
    authfile = login_file(bench.directory / "auth.json", address="registry.example.com")
    bench.refuse(url, str(authfile), "no login for", pin=content.digest, DOCKIN_AUTHFILE=str(authfile), **tls)


@pytest.mark.one_library
def test_authfile_that_is_not_there(private):
    bench, url, content, tls = private
    missing = bench.directory / "missing.json"
    bench.refuse(url, str(missing), "not there", pin=content.digest, DOCKIN_AUTHFILE=str(missing), **tls)


@pytest.mark.one_library
def test_wrong_password_is_not_tried_again(private, login_file, secure_server):
    bench, url, content, tls = private
    wrong = registry.Login(LOGIN.user, "not-the-password")
    authfile = login_file(bench.directory / "auth.json", wrong)
    with secure_server.recording() as requests:
        outcome = bench.refuse(
            url,
            str(authfile),
            "has a login for",
            pin=content.digest,
            DOCKIN_AUTHFILE=str(authfile),
            DOCKIN_FETCH_RETRIES="3",
            **tls,
        )
    assert "not-the-password" not in outcome.text
    assert len([request for request in requests if request.is_manifest]) <= 2


def test_no_secret_anywhere(private, login_file):
    bench, url, content, tls = private
    environment, record = bench.recorded_skopeo()
    authfile = login_file(bench.directory / "auth.json")
    outcome = bench.fetch(url, content.digest, environment=environment, DOCKIN_AUTHFILE=str(authfile), **tls)
    secrets = [LOGIN.password, base64.b64encode(f"{LOGIN.user}:{LOGIN.password}".encode()).decode()]
    for secret in secrets:
        assert secret not in outcome.text
        assert secret not in str(outcome.events)
        assert secret not in record.read_text()
        for file in bench.dl_dir.rglob("*"):
            assert not file.is_file() or secret.encode() not in file.read_bytes(), file


@pytest.mark.parametrize(
    "form",
    [
        "docker://{user}:{password}@{address}/private/app;tag=v1",
        "docker://{address}/private/app;tag=v1;user={user};password={password}",
        "docker://{address}/private/app;tag=v1;user={user};PASS={password}",
        "docker://{user}%3A{password}%40{address}/private/app;tag=v1",
        "docker://{user}:{password}@{address}/private/app@sha256:1234",
        "docker://{address}/private/app?{user}:{password};tag=v1",
        "docker://{address}/private/app;tag=v1#{password}",
        "docker://{address}/private/app%3Fpassword={password}",
    ],
)
def test_no_password_in_the_url(bench, form):
    """It would be in logs, signatures and sstate; the message does not repeat it."""
    url = form.format(user="someone", password="hunter2-hunter2", address="registry.example.com")
    outcome = bench.run(url, ("urls",))
    assert outcome.error_type == "ParameterError"
    # BitBake itself prints the URL of a ParameterError.
    assert "registry.example.com/private/app" in outcome.error
    assert "hunter2-hunter2" not in outcome.error


@pytest.mark.one_library
@pytest.mark.parametrize("scheme", ["Basic", "Bearer"])
def test_registry_that_repeats_what_it_is_sent(faulty, bench, image, scheme):
    """As some do in their errors, to help: what is in the log then is no login."""
    login = LOGIN.auth_json(faulty.address)
    secret = base64.b64encode(":".join(LOGIN.pair).encode()).decode() if scheme == "Basic" else "eyJhbGciOi.token-x_y"
    challenge = 'Basic realm="r"' if scheme == "Basic" else f'Bearer realm="http://{faulty.address}/token"'

    def echo(handler, answer):
        sent = handler.headers.get("Authorization")
        if handler.path.startswith("/token"):
            handler.send(faults.Answer(200, {}, json.dumps({"token": secret}).encode()))
        elif not sent:
            handler.send(faults.Answer(401, {"WWW-Authenticate": challenge}, b""))
        elif handler.path == "/v2/":
            handler.send(answer)
        else:
            words = {"errors": [{"code": "DENIED", "message": f"no such user: Authorization: {sent}"}]}
            handler.send(faults.Answer(403, {"Content-Type": "application/json"}, json.dumps(words).encode()))
    faulty.fail("/", echo)
    authfile = bench.directory / "auth.json"
    authfile.write_text(login)
    content = image("echo")
    outcome = bench.refuse(f"docker://{faulty.address}/echo/app;tag=v1", pin=content.digest, DOCKIN_AUTHFILE=str(authfile))
    said = [outcome.text]
    named = reference.parse(f"{faulty.address}/echo/app:v1")
    for mode in ("auto", "http", "skopeo"):
        options = skopeo.Options(authfile=str(authfile), tls_verify=False)
        with Resolver(options, {"PATH": os.environ["PATH"], "HOME": str(bench.home)}, mode, retries=0) as resolver:
            with pytest.raises(ResolveError) as caught:
                resolver.digest(named)
            said.append(str(caught.value))
    for text in said:
        assert secret not in text
    assert "no such user" in said[2]


# ------------------------------------------------------------------------------------------------------ TLS


@pytest.mark.one_library
def test_unknown_ca(private, login_file):
    bench, url, content, tls = private
    authfile = login_file(bench.directory / "auth.json")
    bench.refuse(
        url,
        "x509",
        "DOCKIN_CERT_DIR",
        pin=content.digest,
        DOCKIN_AUTHFILE=str(authfile),
        DOCKIN_TLS_VERIFY=None,
    )


@pytest.mark.one_library
def test_tls_verify_off(private, login_file):
    bench, url, content, _ = private
    authfile = login_file(bench.directory / "auth.json")
    bench.fetch(url, content.digest, DOCKIN_AUTHFILE=str(authfile), DOCKIN_TLS_VERIFY="0")


@pytest.mark.one_library
def test_ca_of_the_users_certs_d(private, login_file, private_ca, secure_server):
    """skopeo's own place for it; HOME reaches it."""
    bench, url, content, _ = private
    authfile = login_file(bench.directory / "auth.json")
    private_ca.cert_dir(bench.home / ".config/containers/certs.d" / secure_server.address)
    bench.fetch(url, content.digest, DOCKIN_AUTHFILE=str(authfile), DOCKIN_TLS_VERIFY=None)


@pytest.mark.one_library
def test_plain_http_needs_a_word(bench, server, image):
    content = image("plain-http")
    server.push(content, "plain/app", "v1")
    bench.refuse(
        f"docker://{server.address}/plain/app;tag=v1",
        "DOCKIN_TLS_VERIFY",
        pin=content.digest,
        DOCKIN_TLS_VERIFY=None,
    )


def test_registries_conf(bench, server, image):
    """A mirror that is set up outside of BitBake: the URL stays docker.io's."""
    content = image("hub")
    server.push(content, "library/hub-only-here", "v1")
    conf = registry.write_registries_conf(bench.directory / "registries.conf", server.address)
    bench.fetch(
        "docker://hub-only-here;tag=v1",
        content.digest,
        DOCKIN_REGISTRIES_CONF=str(conf),
        DOCKIN_TLS_VERIFY=None,
    )
    assert content.digest in documents(bench.only_file())


@pytest.mark.one_library
@pytest.mark.parametrize("variable", ["DOCKIN_REGISTRIES_CONF", "DOCKIN_POLICY", "DOCKIN_REGISTRIES_D"])
def test_file_that_is_not_there(bench, server, image, variable):
    content = image("missing-file")
    server.push(content, "missing/app", "v1")
    missing = str(bench.directory / "missing.file")
    bench.refuse(
        f"docker://{server.address}/missing/app;tag=v1", missing, pin=content.digest, **{variable: missing}
    )
