"""Debian's docker-registry: what we push, skopeo and we pull, and the reverse; TLS with an authority of the test's own; names and passwords."""

import io
import json
import os
import subprocess
import sys

import pytest
import registry_place
from tars import archive, file

from pyoci.minidocker.errors import ImageProblem, MiniDockerError, NotFound, RegistryProblem
from pyoci.minidocker.images import assemble, auth, documents, records, reference
from pyoci.minidocker.images.check import check
from pyoci.minidocker.images.content import Content, digest_of
from pyoci.minidocker.images.progress import Silent
from pyoci.minidocker.images.pull import pull
from pyoci.minidocker.images.push import push
from pyoci.minidocker.images.registry import Registry
from pyoci.minidocker.paths import Roots
from pyoci.minidocker.store import Store

pytestmark = pytest.mark.needs("root", "docker_registry")
USER = ("me", "secret")


class Said(Silent):
    """Keeps what was said, layers' names without."""

    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)

    def layer(self, name, state, done=0, total=0):
        if not done:
            self.lines.append(state)


@pytest.fixture(autouse=True)
def own_settings(tmp_path, monkeypatch):
    """No credentials, certificates or settings of this host."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("MINIDOCKER_CONFIG", str(tmp_path / "config.json"))
    monkeypatch.setenv("MINIDOCKER_CERTS", str(tmp_path / "certs.d"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A registry without TLS and without passwords, for all tests of this module: each has repositories of its own."""
    with registry_place.docker_registry(tmp_path_factory.mktemp("hub")) as found:
        yield found


@pytest.fixture
def other(tmp_path):
    """Another machine's store."""
    found = Store(Roots(str(tmp_path / "data2"), str(tmp_path / "run2"), {}))
    yield found
    found.close()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return registry_place.make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def secure(tmp_path, certificates):
    """A registry with TLS, name and password."""
    with registry_place.docker_registry(tmp_path / "secure", tls=certificates, users=USER) as found:
        yield found


def trust(tmp_path, certificates, name):
    folder = tmp_path / "certs.d" / name
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_bytes((certificates / "ca.crt").read_bytes())


def make(store, *names, layers=2, seed=0, architecture="amd64"):
    """An image of some layers under these names."""
    config = {"architecture": architecture, "os": "linux", "config": {"Cmd": ["sh"], "Labels": {"seed": str(seed)}}}
    with Content(store.roots).lease() as lease:
        found = []
        for number in range(layers):
            packed = io.BytesIO(archive(file(f"f{number}", registry_place.noise(50_000, b"%d" % (number + 10 * seed)))))
            found.append(assemble.add_layer(store, lease, packed, found[-1].chain if found else ""))
        return assemble.add_image(store, lease, config, found, [reference.parse(name) for name in names])


def skopeo(*words):
    """Its output; it needs no policy of this host."""
    done = subprocess.run(["skopeo", "--insecure-policy", *words], capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- there and back


def test_what_is_pushed_is_what_is_pulled_elsewhere(store, other, hub):
    name = f"{hub.name}/back/app:1"
    made, said = make(store, name), Said()
    digest = push(store, name, said)
    image = pull(other, name)
    assert (image.id, image.manifest, image.layers) == (made.id, digest, made.layers)
    assert (image.tags, image.digests) == ([name], [f"{hub.name}/back/app@{digest}"])
    assert check(other, deep=True) == []
    assert said.lines[0] == f"The push refers to repository [{hub.name}/back/app]"
    assert said.lines[-1].startswith(f"1: digest: {digest} size: ") and said.lines.count("Pushed") == 2


def test_a_second_push_sends_no_layer(store, hub):
    name, said = f"{hub.name}/twice/app", Said()
    make(store, name)
    push(store, name)
    push(store, name, said)
    assert (said.lines.count("Layer already exists"), said.lines.count("Pushed")) == (2, 0)


def test_a_layer_of_another_repository_is_mounted(store, hub):
    one, two, said = f"{hub.name}/mount/one", f"{hub.name}/mount/two", Said()
    make(store, one, two, seed=3)
    push(store, one)
    push(store, two, said)
    assert said.lines.count("Mounted from mount/one") == 2


def test_a_second_pull_is_up_to_date_and_a_new_image_is_not(store, other, hub):
    name = f"{hub.name}/fresh/app"
    make(store, name)
    push(store, name)
    lines = []
    for _ in range(2):
        pull(other, name, progress=(said := Said()))
        lines.append(said.lines)
    assert lines[0][0] == "latest: Pulling from fresh/app"
    assert lines[0][-1] == f"Status: Downloaded newer image for {name}:latest"
    assert lines[1][-1] == f"Status: Image is up to date for {name}:latest"
    assert lines[1].count("Already exists") == 2
    newer = make(store, name, seed=1)
    push(store, name)
    pull(other, name, progress=(said := Said()))
    assert said.lines[-1] == f"Status: Downloaded newer image for {name}:latest"
    assert records.find(other, name).id == newer.id


def test_a_digest_is_pulled_without_a_tag(store, other, hub):
    name = f"{hub.name}/digest/app"
    make(store, f"{name}:1")
    digest = push(store, f"{name}:1")
    image = pull(other, f"{name}@{digest}")
    assert (image.tags, image.digests) == ([], [f"{name}@{digest}"])


def test_a_tag_and_a_repository_that_are_not_there_are_one_line(store, hub):
    with pytest.raises(RegistryProblem) as caught:
        pull(store, f"{hub.name}/nobody/app:9")
    assert str(caught.value) == f"{hub.name}/nobody/app: manifest 9: not found: manifest unknown"
    assert records.all_images(store) == []


def test_an_image_that_lost_a_blob_is_not_pushed(store, hub):
    name = f"{hub.name}/lost/app"
    made = make(store, name)
    os.unlink(Content(store.roots).path(made.layers[0][1]))
    with pytest.raises(ImageProblem, match="its blob is not here any more"):
        push(store, name)


# --- skopeo


@pytest.mark.needs("skopeo")
@pytest.mark.parametrize("form", ["oci", "v2s2"])
def test_what_skopeo_pushes_is_pulled_and_goes_back_the_same(store, other, hub, tmp_path, form):
    source = f"{hub.name}/skopeo/source-{form}"
    make(store, source, seed=5)
    push(store, source)
    middle = f"{hub.name}/skopeo/{form}"
    skopeo("copy", "--format", form, "--src-tls-verify=false", "--dest-tls-verify=false", f"docker://{source}", f"docker://{middle}:a")
    image = pull(other, f"{middle}:a")
    document = documents.decode(Content(other.roots).read(image.manifest), "manifest")
    assert documents.kind_of(document) == "manifest"
    assert document["config"]["mediaType"] == (documents.OCI_CONFIG if form == "oci" else documents.DOCKER_CONFIG)
    records.tag(other, image.id, f"{hub.name}/skopeo/again-{form}:b")
    assert push(other, f"{hub.name}/skopeo/again-{form}:b") == image.manifest
    assert check(other, deep=True) == []


@pytest.mark.needs("skopeo")
def test_skopeo_pulls_what_we_push(store, hub, tmp_path):
    name = f"{hub.name}/skopeo/ours"
    made = make(store, name, seed=6)
    digest = push(store, name)
    skopeo("copy", "--src-tls-verify=false", f"docker://{name}", f"dir:{tmp_path}/out")
    assert digest_of((tmp_path / "out" / "manifest.json").read_bytes()) == digest
    for _, blob in made.layers:
        assert digest_of((tmp_path / "out" / blob.partition(":")[2]).read_bytes()) == blob
    assert json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{name}"))["Labels"] == {"seed": "6"}


# --- indexes


def test_an_index_gives_the_image_of_the_platform(store, other, hub):
    base = f"{hub.name}/index/app"
    entries = []
    for number, architecture in enumerate(("amd64", "arm64")):
        made = make(store, f"{base}:{architecture}", seed=number + 7, architecture=architecture)
        entries.append({"mediaType": documents.OCI_MANIFEST, "digest": push(store, f"{base}:{architecture}"),
                        "size": Content(store.roots).size(made.manifest), "platform": {"os": "linux", "architecture": architecture}})  # fmt: skip
    index = json.dumps({"schemaVersion": 2, "mediaType": documents.OCI_INDEX, "manifests": entries}).encode()
    registry = Registry(hub.name, "index/app", actions="pull,push")
    registry.put_manifest("latest", index, documents.OCI_INDEX)
    registry.close()
    image = pull(other, base, "linux/arm64")
    assert (image.config["architecture"], image.manifest, image.digests) == ("arm64", entries[1]["digest"], [f"{base}@{digest_of(index)}"])
    with pytest.raises(NotFound, match="no image for linux/riscv64; there is: linux/amd64, linux/arm64"):
        pull(other, base, "linux/riscv64")


# --- TLS


def test_a_certificate_of_a_stranger_is_refused_with_the_remedy(store, secure):
    with pytest.raises(RegistryProblem) as caught:
        pull(store, f"{secure.name}/me/app")
    assert str(caught.value) == f"{secure.name}: its certificate is not trusted: unable to get local issuer certificate"
    assert caught.value.hint == f"put the certificate of its authority into /etc/docker/certs.d/{secure.name}/ca.crt"


def test_an_authority_in_certs_d_is_trusted_for_that_host(store, other, secure, certificates, tmp_path):
    trust(tmp_path, certificates, secure.name)
    auth.login(secure.name, *USER)
    name = f"{secure.name}/me/app"
    made = make(store, name)
    push(store, name)
    assert pull(other, name).id == made.id


def test_the_certificate_must_name_the_host(store, secure, certificates, tmp_path):
    host = f"127.0.0.2:{secure.port}"
    trust(tmp_path, certificates, host)
    with pytest.raises(RegistryProblem):
        pull(store, f"{host}/me/app")


def test_a_damaged_certificate_is_named(store, secure, tmp_path):
    folder = tmp_path / "certs.d" / secure.name
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_text("x")
    with pytest.raises(RegistryProblem) as caught:
        pull(store, f"{secure.name}/me/app")
    assert str(caught.value) == f"{folder}/ca.crt: no certificate in PEM, or none that belongs to its key"


# --- names and passwords


@pytest.fixture
def members(tmp_path):
    """A registry with a name and password, without TLS."""
    with registry_place.docker_registry(tmp_path / "members", users=USER) as found:
        yield found


def test_without_a_password_the_hint_is_to_log_in(store, members):
    make(store, f"{members.name}/me/app")
    for act in (lambda: pull(store, f"{members.name}/me/other"), lambda: push(store, f"{members.name}/me/app")):
        with pytest.raises(RegistryProblem) as caught:
            act()
        assert (str(caught.value), caught.value.hint) == (
            f"{members.name}: authentication required", f"'minidocker login {members.name}' gives MiniDocker your name and password")  # fmt: skip


def test_login_keeps_what_docker_and_skopeo_read(store, members, tmp_path):
    assert auth.login(f"https://{members.name}/v1/", *USER) == "Login Succeeded"
    path = tmp_path / "docker" / "config.json"
    assert json.loads(path.read_text()) == {"auths": {members.name: {"auth": "bWU6c2VjcmV0"}}}
    assert path.stat().st_mode & 0o777 == 0o600
    make(store, f"{members.name}/me/app")
    push(store, f"{members.name}/me/app")


def test_login_leaves_the_rest_of_the_configuration_alone(members, tmp_path):
    (tmp_path / "docker").mkdir()
    path = tmp_path / "docker" / "config.json"
    path.write_text(json.dumps({"auths": {"other.test": {"auth": "eDp5"}}, "detachKeys": "ctrl-e"}))
    auth.login(members.name, *USER)
    assert auth.logout(members.name) == f"Removing login credentials for {members.name}"
    assert json.loads(path.read_text()) == {"auths": {"other.test": {"auth": "eDp5"}}, "detachKeys": "ctrl-e"}
    assert auth.logout(members.name) == f"Not logged in to {members.name}"


def test_a_wrong_password_is_not_kept(members, tmp_path):
    with pytest.raises(RegistryProblem) as caught:
        auth.login(members.name, "me", "wrong")
    assert str(caught.value).startswith(f"{members.name}: login: not authorized")
    assert caught.value.hint == "is the password right? Some registries take a token in its place"
    assert not (tmp_path / "docker").exists()


@pytest.mark.parametrize("key", ["credsStore", "credHelpers"])
def test_a_credential_helper_keeps_and_gives_them(store, members, tmp_path, monkeypatch, key):
    program = tmp_path / "bin" / "docker-credential-drawer"
    program.parent.mkdir()
    program.write_text("""#!/bin/sh
drawer=$(dirname "$0")/drawer
case $1 in
store) cat >"$drawer" ;;
get) [ -e "$drawer" ] && cat "$drawer" || { echo credentials not found in native keychain; exit 1; } ;;
erase) rm "$drawer" ;;
esac
""")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    (tmp_path / "docker").mkdir()
    path = tmp_path / "docker" / "config.json"
    path.write_text(json.dumps({key: "drawer" if key == "credsStore" else {members.name: "drawer"}}))
    before = path.read_text()
    make(store, f"{members.name}/me/app")
    with pytest.raises(RegistryProblem, match="authentication required"):
        push(store, f"{members.name}/me/app")
    auth.login(members.name, *USER)
    push(store, f"{members.name}/me/app")
    auth.logout(members.name)
    assert (path.read_text(), (tmp_path / "bin" / "drawer").exists()) == (before, False)


def test_a_credential_helper_that_is_not_there_is_named(store, members, tmp_path):
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "config.json").write_text('{"credsStore": "nowhere"}')
    with pytest.raises(MiniDockerError, match="^docker-credential-nowhere: not found$"):
        pull(store, f"{members.name}/me/app")


def command(words, stdin=""):
    """minidocker's own command line, in another process."""
    return subprocess.run([sys.executable, "-m", "pyoci.minidocker", *words], input=stdin, capture_output=True, text=True, timeout=60)


def test_the_command_line_logs_in_pulls_and_logs_out(store, members, tmp_path):
    make(store, f"{members.name}/me/app")
    done = command(["login", "-u", "me", "--password-stdin", members.name], "secret\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Login Succeeded\n", "")
    push(store, f"{members.name}/me/app")
    roots = ["--data-root", str(tmp_path / "data3"), "--run-root", str(tmp_path / "run3")]
    done = command([*roots, "pull", f"{members.name}/me/app"])
    assert (done.returncode, done.stderr, done.stdout.splitlines()[-1]) == (0, "", f"{members.name}/me/app:latest")
    done = command([*roots, "pull", "-q", f"{members.name}/me/app"])
    assert done.stdout == f"{members.name}/me/app:latest\n"
    assert command(["logout", members.name]).stdout == f"Removing login credentials for {members.name}\n"
    done = command([*roots, "pull", f"{members.name}/me/app"])
    assert (done.returncode, done.stderr) == (
        125, f"minidocker: {members.name}: authentication required\n  'minidocker login {members.name}' gives MiniDocker your name and password\n")  # fmt: skip
