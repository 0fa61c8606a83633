"""Registries that misbehave: what can be mended is, and all else is one clear line that leaves nothing but bytes to go on with."""

import io
import json
import os
import socket
import threading

import pytest
import registry_place
from registry_place import Liar, MadeImage, an_image, cut_after, says
from tars import archive, file

from pyoci.minidocker.errors import MiniDockerError, NotFound, RegistryProblem
from pyoci.minidocker.images import auth, records, registry, transport
from pyoci.minidocker.images.check import check
from pyoci.minidocker.images.content import digest_of
from pyoci.minidocker.images.documents import OCI_INDEX
from pyoci.minidocker.images.progress import Silent
from pyoci.minidocker.images.pull import pull
from pyoci.minidocker.images.push import push

pytestmark = pytest.mark.needs("root")
Transport = transport.Transport


@pytest.fixture(autouse=True)
def own_settings(tmp_path, monkeypatch):
    """No credentials, certificates or settings of this host."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("MINIDOCKER_CONFIG", str(tmp_path / "config.json"))
    monkeypatch.setenv("MINIDOCKER_CERTS", str(tmp_path / "certs.d"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def pauses(monkeypatch):
    """The seconds that were waited for, instead of waiting."""
    found = []
    monkeypatch.setattr(registry, "Transport", lambda insecure: Transport(insecure, found.append))
    return found


@pytest.fixture
def liar(pauses):
    with Liar() as found:
        found.images["me/app"] = an_image()
        yield found


@pytest.fixture
def names(monkeypatch):
    """registry.test and *.test are this machine."""
    real = socket.getaddrinfo

    def lookup(host, *more, **options):
        return real(registry_place.HOST if isinstance(host, str) and host.endswith(".test") else host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)


def pulled(store, liar, name="me/app", **options):
    return pull(store, f"{liar.name}/{name}", **options)


def failure(store, liar, name="me/app", host="", **options):
    """The line of a pull that fails; nothing of it is recorded, and nothing is left but bytes of a blob."""
    with pytest.raises(MiniDockerError) as caught:
        pull(store, f"{host or liar.name}/{name}", **options)
    text = str(caught.value)
    assert "\n" not in text and text.isprintable(), text
    assert records.all_images(store) == []
    assert [one for one in os.listdir(store.roots.ingest) if not one.startswith(("gc.lock", "sha256-"))] == [] if os.path.isdir(store.roots.ingest) else True
    assert not os.path.isdir(store.roots.layers) or os.listdir(store.roots.layers) == []
    return text.replace(liar.name, "HOST")


def partials(store):
    return [os.path.getsize(f"{store.roots.ingest}/{name}") for name in os.listdir(store.roots.ingest) if name.startswith("sha256-")]


# --- cuts


def test_a_cut_blob_goes_on_where_it_was_cut(store, liar):
    liar.does("GET", "/blobs/" + liar.images["me/app"].layers[0], cut_after(100_000), cut_after(70_000))
    assert pulled(store, liar).id == liar.images["me/app"].id
    ranges = [headers.get("Range") for headers in liar.asked("GET", liar.images["me/app"].layers[0])]
    assert ranges == [None, "bytes=100000-", "bytes=170000-"]
    assert check(store, deep=True) == []


def test_a_cut_blob_begins_anew_where_there_are_no_ranges(store, liar):
    layer = liar.images["me/app"].layers[0]
    liar.does("GET", layer, cut_after(100_000), registry_place.without_ranges)
    assert pulled(store, liar).id == liar.images["me/app"].id
    assert len(liar.asked("GET", layer)) == 2


def test_a_server_that_refuses_the_range_is_asked_for_the_whole(store, liar):
    layer = liar.images["me/app"].layers[0]
    liar.does("GET", layer, cut_after(100_000), says(416))
    assert pulled(store, liar).id == liar.images["me/app"].id
    assert [headers.get("Range") for headers in liar.asked("GET", layer)] == [None, "bytes=100000-", None]


def test_a_range_that_begins_elsewhere_is_not_used(store, liar):
    layer = liar.images["me/app"].layers[0]
    liar.does("GET", layer, cut_after(100_000), says(206, b"x" * 10, Content_Range="bytes 5-14/300000"))
    assert pulled(store, liar).id == liar.images["me/app"].id


def test_what_a_failed_pull_has_fetched_is_not_fetched_again(store, liar):
    layer = liar.images["me/app"].layers[0]
    liar.does("GET", layer, cut_after(100_000), says(404))
    assert "not found" in failure(store, liar)
    assert partials(store) == [100_000]
    pulled(store, liar)
    assert liar.asked("GET", layer)[-1]["Range"] == "bytes=100000-"


def test_a_server_that_always_cuts_is_left_after_five_tries(store, liar, pauses):
    liar.always("GET", liar.images["me/app"].layers[0], registry_place.hangs_up)
    assert failure(store, liar) == "HOST: Remote end closed connection without response"
    assert pauses


def test_crumbs_are_no_progress(store, liar):
    liar.always("GET", liar.images["me/app"].layers[0], cut_after(1))
    assert failure(store, liar).startswith("HOST: ")
    assert len(liar.asked("GET", liar.images["me/app"].layers[0])) < 20


def test_a_cut_manifest_is_one_line(store, liar):
    liar.always("GET", "/manifests/", cut_after(5))
    assert failure(store, liar).startswith("HOST: ")


def test_a_cut_refusal_of_a_stranger_is_one_line(store, liar):
    liar.always("GET", "/manifests/", lambda handler: (handler.send_response(401), handler.send_header("Content-Length", "90"), handler.end_headers(), registry_place.hangs_up(handler)))
    assert failure(store, liar).startswith("HOST: ")


# --- tries


def test_a_busy_server_is_asked_again_when_it_said(store, liar, pauses):
    liar.does("GET", "/manifests/", says(429, Retry_After=7), says(500), says(503, Retry_After="9" * 5000), says(503, Retry_After=100000))
    assert pulled(store, liar).id == liar.images["me/app"].id
    assert pauses[0] == 7 and max(pauses) <= transport.LONGEST_WAIT_S


@pytest.mark.parametrize("status, words", [(429, "too many requests"), (500, "HTTP status 500"), (503, "HTTP status 503")])
def test_a_server_that_stays_busy_is_one_line(store, liar, status, words):
    liar.always("GET", "/manifests/", says(status, b"<html>"))
    assert failure(store, liar) == f"HOST/me/app: manifest latest: {words}"
    assert len(liar.asked("GET", "/manifests/")) == transport.TRIES


def test_words_of_a_registry_cannot_write_on_the_terminal(store, liar):
    liar.always("GET", "/manifests/", says(400, json.dumps({"errors": [{"code": "X", "message": "bad\x1b[2J\nnews" + "x" * 5000}]}).encode()))
    assert len(failure(store, liar)) < 600


# --- wrong content


def test_a_blob_with_another_digest_is_refused(store, liar):
    image = liar.images["me/app"]
    image.blobs[image.layers[0]] = image.blobs[image.layers[0]][:-1] + b"x"
    assert failure(store, liar).startswith(f"blob {image.layers[0]}: the content that came has the digest sha256:")
    assert partials(store) == []


def test_a_blob_that_is_shorter_than_announced_is_refused(store, liar):
    image = liar.images["me/app"]
    image.blobs[image.layers[0]] = image.blobs[image.layers[0]][:1000]
    assert "were announced" in failure(store, liar)


def test_a_blob_that_is_longer_than_announced_is_refused(store, liar):
    image = liar.images["me/app"]
    image.blobs[image.layers[0]] += b"x"
    assert failure(store, liar).startswith("HOST: sends more than the ")


@pytest.mark.parametrize("what", ["/manifests/", "/blobs/"])
def test_an_endless_answer_is_left(store, liar, what):
    liar.always("GET", what, registry_place.endless)
    assert failure(store, liar).startswith("HOST: sends more than the ")


def test_an_endless_blob_of_no_bytes_is_left(store, liar):
    def change(document):
        document["layers"][0] |= {"size": 0, "digest": digest_of(b"")}

    liar.images["me/app"] = an_image(change=change)
    liar.always("GET", digest_of(b""), registry_place.endless)
    assert failure(store, liar).startswith("HOST: sends more than the 0 bytes")


@pytest.mark.parametrize(
    "answer, words",
    [
        (says(200, b"not JSON", Content_Type="application/vnd.oci.image.manifest.v1+json"), "manifest: no JSON: Expecting value: line 1 column 1 (char 0)"),
        (says(200, b"[]", Content_Type="application/vnd.oci.image.manifest.v1+json"), "manifest: not an object but an array"),
        (says(200, b"[" * 100_000), "manifest: no JSON: maximum recursion depth exceeded while decoding a JSON array from a unicode string"),
        (says(200, b"{}", Content_Type="text/html"), "manifest: unknown media type 'text/html'"),
        (says(200, b'{"mediaType": "x/y\\u001b[2J"}'), r"manifest: unknown media type 'x/y\x1b[2J'"),
        (says(200, b'{"schemaVersion": 1, "fsLayers": []}'), "manifest: Docker's schema 1, which names no config; it was given up in 2019"),
        (says(200, b"{}", Content_Type="application/vnd.docker.distribution.manifest.v1+prettyjws"), "manifest: Docker's schema 1, which names no config; it was given up in 2019"),
        (says(200, b" " * (5 << 20)), "HOST: sends more than the 4194304 bytes that were to come"),
        (says(200, b"{}", Docker_Content_Digest="sha256:" + "0" * 64), f"HOST: manifest latest: announced as sha256:{'0' * 64}, but the content has the digest {digest_of(b'{}')}"),
        (says(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'), "HOST/me/app: manifest latest: not found: manifest unknown"),
        (says(403), "HOST/me/app: manifest latest: denied"),
        (says(401), "HOST: asks for an authentication that is not known here: ''"),
        (says(401, WWW_Authenticate='Negotiate realm="x"'), "HOST: asks for an authentication that is not known here: 'Negotiate realm=\"x\"'"),
        (says(401, WWW_Authenticate='Basic realm="x"'), "HOST: authentication required"),
        (says(401, WWW_Authenticate='Bearer realm="http://[::1",service="x"'), "HOST: names 'http://[::1' for tokens, which is no address"),
    ],
    ids=["garbage", "array", "deep", "html", "escapes", "schema1", "schema1-type", "huge", "digest", "404", "403", "401", "negotiate", "basic", "realm"],
)
def test_a_manifest_that_cannot_be_is_one_line(store, liar, answer, words):
    liar.always("GET", "/manifests/", answer)
    assert failure(store, liar) == words


def test_another_manifest_than_the_digest_asked_for_is_refused(store, liar):
    digest = digest_of(b"other")
    liar.always("GET", "/manifests/", lambda handler: handler.answer(200, liar.images["me/app"].manifest, Content_Type=liar.images["me/app"].media))
    assert failure(store, liar, f"me/app@{digest}") == f"HOST: manifest {digest}: the content that came has the digest {liar.images['me/app'].digest}"


def test_a_foreign_layer_that_the_registry_lacks_says_so(store, liar):
    def change(document):
        document["layers"][0] |= {"mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "urls": ["https://elsewhere.test/x"]}

    liar.images["me/app"] = an_image(oci=False, change=change)
    liar.always("GET", liar.images["me/app"].layers[0], says(404))
    assert "is a foreign layer" in failure(store, liar)


def test_a_layer_that_fails_ends_the_others_and_is_the_one_told_of(store, liar):
    image = liar.images["me/app"] = an_image(3)
    gone = threading.Event()

    def fail(handler):
        gone.set()
        handler.answer(404)

    liar.always("GET", image.layers[0], registry_place.waits_for(gone))
    liar.always("GET", image.layers[2], fail)
    assert f"blob {image.layers[2]}: not found" in failure(store, liar)


# --- indexes


def index_of(*images, change=None):
    entries = [{"mediaType": one.media, "digest": one.digest, "size": len(one.manifest), "platform": dict(zip(("os", "architecture", "variant"), platform, strict=False))}
               for one, platform in images]  # fmt: skip
    if change:
        change(entries)
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode(), OCI_INDEX


@pytest.fixture
def many(liar):
    """An index of two platforms."""
    ours, other = an_image(), an_image(size=2000, platform=("linux", "arm64"))
    liar.images["me/app"] = [ours, other]
    liar.indexes["me/app"] = index_of((ours, ("linux", "amd64")), (other, ("linux", "arm64", "v8")))
    return ours, other


@pytest.mark.parametrize("platform, number", [("linux/amd64", 0), ("linux/arm64", 1), ("linux/arm64/v8", 1)])
def test_the_platform_asked_for_is_chosen_from_an_index(store, liar, many, platform, number):
    image = pulled(store, liar, platform=platform)
    assert (image.id, image.digests) == (many[number].id, [f"{liar.name}/me/app@{digest_of(liar.indexes['me/app'][0])}"])


def test_a_platform_that_an_index_lacks_is_one_line(store, liar, many):
    assert failure(store, liar, platform="linux/s390x") == "no image for linux/s390x; there is: linux/amd64, linux/arm64/v8"


def test_a_manifest_of_another_size_than_the_index_says_is_refused(store, liar, many):
    liar.indexes["me/app"] = index_of((many[0], ("linux", "amd64")), change=lambda entries: entries[0].update(size=7))
    assert "the index announced 7" in failure(store, liar, platform="linux/amd64")


def test_indexes_in_indexes_come_to_an_end(store, liar):
    inner = index_of((liar.images["me/app"], ("linux", "amd64")))
    found = [inner]
    for _ in range(6):
        one = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
            {"mediaType": OCI_INDEX, "digest": digest_of(found[-1][0]), "size": len(found[-1][0]), "platform": {"os": "linux", "architecture": "amd64"}}]}).encode()  # fmt: skip
        found.append((one, OCI_INDEX))
    by_digest = {digest_of(data): data for data, _ in found}
    liar.always("GET", "/manifests/", lambda handler: handler.answer(200, by_digest.get(handler.path.rpartition("/")[2], found[-1][0]), Content_Type=OCI_INDEX))
    assert failure(store, liar, platform="linux/amd64") == "HOST/me/app:latest: indexes in indexes in indexes"


# --- redirects and credentials


def logged_in(tmp_path, name):
    folder = tmp_path / "docker"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"auths": {name: {"auth": "bWU6c2VjcmV0"}}}))


def basic(handler):
    """Serve who has the name and password, ask others for them."""
    if handler.headers.get("Authorization"):
        return handler.honest()
    return handler.answer(401, WWW_Authenticate='Basic realm="x"')


def test_a_redirect_to_another_host_does_not_take_the_password_along(store, liar, tmp_path):
    logged_in(tmp_path, liar.name)
    liar.always("GET", "/manifests/", basic)
    with Liar() as other:
        other.images["me/app"] = liar.images["me/app"]
        liar.always("GET", "/blobs/", lambda handler: handler.answer(307, Location=f"http://{other.name}{handler.path}"))
        assert pulled(store, liar).id == liar.images["me/app"].id
        assert [headers["Authorization"] for headers in other.asked("GET", "/blobs/")] == [None, None]
    assert {headers["Authorization"] for headers in liar.asked("GET", "/blobs/")} == {"Basic bWU6c2VjcmV0"}


def test_redirects_in_a_circle_come_to_an_end(store, liar):
    liar.always("GET", "/manifests/", lambda handler: handler.answer(302, Location=handler.path))
    assert failure(store, liar) == f"HOST: more than {transport.MAX_REDIRECTS} redirects"


@pytest.mark.parametrize("location, words", [
    ("http://registry.test/x", "HOST: redirects to registry.test without TLS"),
    ("ftp://registry.test/x", "HOST: redirects to 'ftp://registry.test/x'"),
    ("http://[::1/x", "HOST: redirects to 'http://[::1/x'"),
    ("http://127.0.0.1:99999/x", "127.0.0.1:99999: not a port: 99999"),
    ("https://" + "a" * 70 + ".test/x", f"{'a' * 70}.test: not a host's name"),
], ids=["plain", "ftp", "brackets", "port", "long"])  # fmt: skip
def test_a_redirect_to_where_we_do_not_go_is_one_line(store, liar, location, words):
    liar.always("GET", "/manifests/", says(302, Location=location))
    assert failure(store, liar) == words


def test_plain_http_is_refused_but_for_loopback(store, liar, names):
    host = f"registry.test:{liar.server_address[1]}"
    assert failure(store, liar, host=host) == f"{host}: speaks HTTP without TLS, which is allowed with loopback only"


def test_plain_http_is_spoken_with_hosts_that_are_named_insecure(store, liar, names, tmp_path):
    host = f"registry.test:{liar.server_address[1]}"
    (tmp_path / "config.json").write_text(json.dumps({"insecure-registries": [host]}))
    assert pull(store, f"{host}/me/app").id == liar.images["me/app"].id


@pytest.mark.parametrize("config", [{"insecure-registries": "x"}, {"insecure-registries": 5}, {"registry-mirrors": [5]}, {"registry-mirrors": {"a": 1}}])
def test_settings_of_another_shape_are_refused(store, liar, tmp_path, config):
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert failure(store, liar).endswith(f"config.json: {next(iter(config))}: must be a list of names")


def bearer(realm):
    """Ask for a token of that place."""

    def deed(handler):
        if handler.headers.get("Authorization") == "Bearer good":
            return handler.honest()
        return handler.answer(401, WWW_Authenticate=f'Bearer realm="{realm}",service="s",scope="repository:me/app:pull"')

    return deed


def test_a_token_is_fetched_once_and_used(store, liar, tmp_path):
    logged_in(tmp_path, liar.name)
    liar.always("GET", "/v2/", bearer(f"http://{liar.name}/token"))
    liar.always("GET", "/token", says(200, b'{"token": "good"}'))
    assert pulled(store, liar).id == liar.images["me/app"].id
    assert [(headers["Authorization"], path) for _, path, headers in liar.log if path.startswith("/token")] == [
        ("Basic bWU6c2VjcmV0", "/token?service=s&scope=repository%3Ame%2Fapp%3Apull&account=me")]  # fmt: skip


def test_a_token_over_plain_http_is_refused(store, liar, tmp_path):
    logged_in(tmp_path, liar.name)
    liar.always("GET", "/v2/", bearer("http://registry.test/token"))
    assert failure(store, liar) == "HOST: names 'http://registry.test/token' for tokens, which is no place with TLS"


def elsewhere(tmp_path, liar):
    """The liar by a name that is no loopback's, and may be spoken with all the same."""
    host = f"registry.test:{liar.server_address[1]}"
    (tmp_path / "config.json").write_text(json.dumps({"insecure-registries": [host]}))
    return host


def test_a_token_is_not_fetched_from_this_machine_for_a_registry_elsewhere(store, liar, names, tmp_path):
    host = elsewhere(tmp_path, liar)
    with Liar() as other:
        liar.always("GET", "/v2/", bearer(f"http://{other.name}/token"))
        assert failure(store, liar, host=host) == f"{host}: sends us for a token to {other.name}, which is this machine"
        assert other.log == []


def test_an_upload_does_not_go_to_this_machine_for_a_registry_elsewhere(liar, names, tmp_path):
    host = elsewhere(tmp_path, liar)
    with Liar() as other:
        liar.always("POST", "/uploads/", says(202, Location=f"http://{other.name}/x"))
        with pytest.raises(RegistryProblem, match=f"^{host}: sends us with the upload to {other.name}, which is this machine$"):
            registry.Registry(host, "me/app").upload(digest_of(b"x"), lambda: io.BytesIO(b"x"), 1)
        assert other.log == []


def test_a_refresh_token_is_not_redirected(store, liar, tmp_path):
    logged_in(tmp_path, liar.name)
    (tmp_path / "docker" / "config.json").write_text(json.dumps({"auths": {liar.name: {"identitytoken": "secret"}}}))
    liar.always("GET", "/v2/", bearer(f"http://{liar.name}/token"))
    with Liar() as other:
        liar.always("POST", "/token", says(307, Location=f"http://{other.name}/token"))
        assert failure(store, liar) == "HOST/me/app: authentication: HTTP status 307"
        assert other.log == []


@pytest.mark.parametrize("answer, words", [
    (says(200, b"{}"), "HOST: a token that can't be read"),
    (says(200, b"[]"), "HOST: a token that can't be read"),
    (says(200, b"x"), "HOST: a token that can't be read"),
    (says(200, b'{"token": "a\\r\\nX: y"}'), "HOST: a token that can't be read"),
    (says(401), "HOST/me/app: authentication: not authorized"),
    (registry_place.hangs_up, "HOST: Remote end closed connection without response"),
], ids=["none", "array", "garbage", "lines", "401", "silence"])  # fmt: skip
def test_a_token_that_is_none_is_one_line(store, liar, answer, words):
    liar.always("GET", "/v2/", bearer(f"http://{liar.name}/token"))
    liar.always("GET", "/token", answer)
    assert failure(store, liar) == words


# --- time


def test_a_server_that_says_nothing_is_left(store, liar, monkeypatch):
    monkeypatch.setattr(transport, "TIMEOUT_S", 0.1)
    never = threading.Event()
    liar.always("GET", "/manifests/", lambda handler: never.wait(5))
    assert failure(store, liar) == "HOST: no answer in 0.1 seconds"
    never.set()


def test_a_body_that_stops_is_cut_and_goes_on(store, liar, monkeypatch):
    monkeypatch.setattr(transport, "TIMEOUT_S", 0.2)
    never = threading.Event()
    layer = liar.images["me/app"].layers[0]
    liar.does("GET", layer, registry_place.waits_for(never))
    assert pulled(store, liar).id == liar.images["me/app"].id
    never.set()
    assert liar.asked("GET", layer)[1]["Range"].startswith("bytes=")


def test_a_body_that_trickles_is_left(store, liar, monkeypatch):
    monkeypatch.setattr(transport, "SLOW_WINDOW_S", 0.05)
    monkeypatch.setattr(transport, "SLOWEST_BYTES_S", 1 << 20)
    tick = threading.Event()

    def trickle(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "300")
        handler.end_headers()
        for _ in range(300):
            tick.wait(0.01)
            handler.wfile.write(b"x")

    liar.always("GET", "/manifests/", trickle)
    assert failure(store, liar) == f"HOST: sends less than {1 << 20} bytes a second"


# --- uploads


def takes(handler):
    """Take what is sent."""
    handler.rfile.read(int(handler.headers["Content-Length"]))
    handler.answer(201)


def expired(handler):
    """Take it, and say that the token has run out meanwhile."""
    handler.rfile.read(int(handler.headers["Content-Length"]))
    handler.answer(401)


@pytest.fixture
def taker(liar):
    """A registry that takes uploads."""
    liar.always("POST", "/uploads/", says(202, Location="/upload?state=1"))
    liar.always("PUT", "/manifests/", takes)
    return liar


@pytest.mark.parametrize("deed", [registry_place.hangs_up, expired], ids=["cut", "expired"])
def test_an_upload_that_breaks_is_begun_anew(store, taker, deed):
    pulled(store, taker)
    records.tag(store, f"{taker.name}/me/app", f"{taker.name}/me/other")
    taker.does("PUT", "/upload?", deed)
    taker.always("PUT", "/upload?", takes)
    assert push(store, f"{taker.name}/me/other") == taker.images["me/app"].digest
    assert (len(taker.asked("POST", "/uploads/")), len(taker.asked("PUT", "/upload?"))) == (3, 3)


@pytest.mark.parametrize("place, words", [
    ("http://registry.test/x", "HOST: wants the upload at registry.test without TLS"),
    ("http://[::1/x", "HOST: wants the upload at 'http://[::1/x'"),
], ids=["plain", "brackets"])  # fmt: skip
def test_an_upload_to_where_we_do_not_go_is_one_line(store, liar, place, words):
    pulled(store, liar)
    records.tag(store, f"{liar.name}/me/app", f"{liar.name}/me/other")
    liar.always("POST", "/uploads/", says(202, Location=place))
    with pytest.raises(MiniDockerError) as caught:
        push(store, f"{liar.name}/me/other")
    assert str(caught.value).replace(liar.name, "HOST") == words


# --- mirrors, connections


def test_a_mirror_that_fails_is_passed_over(store, liar, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "DOCKER_HUB", liar.name)
    liar.images["library/app"] = liar.images["me/app"]
    with Liar() as mirror:
        mirror.always("GET", "/manifests/", says(200, b"garbage"))
        (tmp_path / "config.json").write_text(json.dumps({"registry-mirrors": [f"http://{mirror.name}"]}))
        assert pull(store, "app").tags == ["docker.io/library/app:latest"]
        assert len(mirror.log) == 1


def test_connections_are_used_again(store, liar):
    liar.images["me/app"] = an_image(8, size=2000)
    pulled(store, liar)
    assert len(liar.log) == 10
    assert liar.connections <= 6  # one that greets with TLS, and one a worker


def test_nobody_at_the_port_is_one_line(store, liar):
    host = f"127.0.0.1:{registry_place.free_port()}"
    assert failure(store, liar, host=host) == f"{host}: connection refused"


def test_a_missing_image_of_another_platform_is_not_tried_elsewhere(store, liar):
    liar.images["me/app"] = MadeImage([], platform=("linux", "mips64le"))
    with pytest.raises(NotFound, match="is for linux/mips64le, not for linux/amd64"):
        pulled(store, liar, platform="linux/amd64")


def test_an_auths_of_another_shape_is_refused_at_login(liar, tmp_path):
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "config.json").write_text('{"auths": "x"}')
    with pytest.raises(MiniDockerError, match="auths: not a JSON object"):
        auth.login(liar.name, "me", "secret")


# --- one layer fails: its sisters end


class _Stall(Silent):
    """Sends some bytes of a blob, and then nothing until the other side hangs up or the test ends.  As a pull's progress it knows when they came.

    `waits` is set when they have, `ended` when the other side hung up.
    """

    BYTES = 1000

    def __init__(self):
        self.waits, self.ended = threading.Event(), threading.Event()

    def __call__(self, handler):
        data, media = handler.found()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.send_header("Content-Type", media)
        handler.end_headers()
        handler.wfile.write(data[: self.BYTES])
        handler.close_connection = True
        handler.connection.settimeout(20)
        if handler.connection.recv(1) == b"":
            self.ended.set()

    def layer(self, name, state, *numbers):
        if numbers[:1] == (self.BYTES,):
            self.waits.set()

    def then(self, deed):
        """A deed that waits for this one."""

        def later(handler):
            assert self.waits.wait(20)
            deed(handler)

        return later


def test_a_hostile_layer_ends_the_downloads_of_its_sisters(store, liar):
    hostile = archive(file("../out", b"x"))
    image = liar.images["me/app"] = MadeImage([archive(file("good", registry_place.noise(300_000))), hostile])
    stall = _Stall()
    liar.does("GET", image.layers[0], stall)
    liar.does("GET", image.layers[1], stall.then(lambda handler: handler.honest()))
    assert "../out" in failure(store, liar, progress=stall)
    assert stall.ended.wait(20)  # the other 299,000 bytes were not waited for
    assert len(liar.asked("GET", image.layers[0])) == 1


def test_the_first_failure_is_the_one_that_is_told(store, liar):
    image = liar.images["me/app"] = an_image(3)
    stall = _Stall()
    liar.does("GET", image.layers[0], stall)
    liar.does("GET", image.layers[2], stall.then(says(404)))
    assert "not found" in failure(store, liar, progress=stall)


def test_a_damaged_blob_is_healed_by_the_next_pull(store, liar):
    from pyoci.minidocker.check import check as check_all
    from pyoci.minidocker.images.content import Content

    digest = pulled(store, liar).layers[0][1]
    path = Content(store.roots).path(digest)
    os.chmod(path, 0o600)
    os.truncate(path, 1000)
    told = f"image {liar.name}/me/app:latest: the blob of its layer {digest} is damaged; pull it again"
    assert check_all(store, deep=True) == [told]
    assert check_all(store, heal=True, deep=True) == [f"{told} (its file is removed, so that a pull fetches it)"]
    pulled(store, liar)
    assert check_all(store, deep=True) == []
