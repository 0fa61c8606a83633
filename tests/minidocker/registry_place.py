"""Registries on loopback for the tests: Debian's docker-registry, and one in this process that misbehaves as it is told.

    with docker_registry(folder, tls=..., users=...) as registry:    registry.name is 127.0.0.1:PORT
    with Liar() as liar:  liar.images["me/app"] = an_image();  liar.does("GET", "/blobs/", cut_after(10))
Source: distribution-spec; docker-registry's configuration reference.
"""

import contextlib
import gzip
import hashlib
import http.server
import json
import pathlib
import socket
import subprocess
import threading
import time

from tars import archive, file

from pyoci.minidocker.images import documents
from pyoci.minidocker.images.content import digest_of

HOST = "127.0.0.1"
TIMEOUT_S = 30
CONFIG = {
    True: (documents.OCI_MANIFEST, documents.OCI_CONFIG, "application/vnd.oci.image.layer.v1.tar+gzip"),
    False: (documents.DOCKER_MANIFEST, documents.DOCKER_CONFIG, "application/vnd.docker.image.rootfs.diff.tar.gzip"),
}


class MadeImage:
    """An image in memory: `manifest` bytes, their `media` type and `digest`; `blobs` by digest; `layers`, the blobs' digests."""

    def __init__(self, layers, *, oci=True, platform=("linux", "amd64"), change=None):
        self.media, config_media, layer_media = CONFIG[oci]
        self.blobs = {}
        packed = [gzip.compress(layer, 1, mtime=0) for layer in layers]
        config = {"os": platform[0], "architecture": platform[1], "config": {"Cmd": ["sh"]},
                  "rootfs": {"type": "layers", "diff_ids": [digest_of(layer) for layer in layers]}}  # fmt: skip
        self.layers = [self._add(layer) for layer in packed]
        document = {
            "schemaVersion": 2, "mediaType": self.media, "config": self._descriptor(json.dumps(config).encode(), config_media),
            "layers": [self._descriptor(layer, layer_media) for layer in packed],
        }  # fmt: skip
        if change:
            change(document)
        self.manifest = json.dumps(document).encode()
        self.digest = digest_of(self.manifest)
        self.id = document["config"]["digest"]

    def _add(self, data):
        self.blobs[digest_of(data)] = data
        return digest_of(data)

    def _descriptor(self, data, media):
        return {"mediaType": media, "digest": self._add(data), "size": len(data)}


def noise(count, seed=b"seed"):
    """Bytes that can't be packed, always the same."""
    return hashlib.shake_128(seed).digest(count)


def an_image(count=1, size=300_000, **options):
    """An image of some layers, each with a file that can't be packed."""
    return MadeImage([archive(file(f"file{number}", noise(size, b"%d" % number))) for number in range(count)], **options)


def free_port():
    """A port that nobody listens at."""
    with socket.socket() as one:
        one.bind((HOST, 0))
        return one.getsockname()[1]


class DockerRegistry:
    """A running docker-registry."""

    def __init__(self, folder, port):
        self.folder = folder
        self.port = port
        self.name = f"{HOST}:{port}"

    def log(self):
        """What it said."""
        return (self.folder / "log").read_text()


def configuration(folder, port, tls, users):
    """config.yml of a docker-registry that keeps all in the folder."""
    lines = ["version: 0.1", "log: {accesslog: {disabled: false}}", f"storage: {{filesystem: {{rootdirectory: '{folder}/data'}}, delete: {{enabled: true}}}}", "http:",
             f"  addr: {HOST}:{port}", "  secret: secret"]  # fmt: skip
    if tls:
        lines += ["  tls:", f"    certificate: {tls}/server.crt", f"    key: {tls}/server.key"]
    if users:
        made = subprocess.run(["htpasswd", "-Bbn", *users], capture_output=True, text=True, check=True, timeout=TIMEOUT_S).stdout
        (folder / "users").write_text(made)
        lines += ["auth:", f"  htpasswd: {{realm: test, path: '{folder}/users'}}"]
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def docker_registry(folder, *, tls=None, users=()):
    """A docker-registry for the with block.  tls: a folder that make_certificates filled; users: (name, password)."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    found = DockerRegistry(folder, free_port())
    (folder / "config.yml").write_text(configuration(folder, found.port, tls, users))
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", str(folder / "config.yml")], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        _wait_for_port(found, process)
        yield found
    finally:
        process.kill()
        process.wait()


def _wait_for_port(found, process):
    end = time.monotonic() + TIMEOUT_S
    while True:
        try:
            socket.create_connection((HOST, found.port), 1).close()
            return
        except OSError:
            assert process.poll() is None and time.monotonic() < end, found.log()
            time.sleep(0.02)  # nothing to wait on tells that a port is open


def make_certificates(folder):
    """ca.crt, server.crt and server.key in the folder: an authority of the test's own, and a server of loopback."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:registry.test\nbasicConstraints=CA:FALSE\n")

    def openssl(words):
        subprocess.run(["openssl", *words.split()], cwd=folder, check=True, capture_output=True, timeout=TIMEOUT_S)

    key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    openssl(f"req -x509 {key} -keyout ca.key -out ca.crt -subj /CN=an-authority -days 2")
    openssl(f"req {key} -keyout server.key -out server.csr -subj /CN=a-registry")
    openssl("x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile san -days 2 -out server.crt")
    return folder


class Liar(http.server.ThreadingHTTPServer):
    """A registry in this process.  `images[repository]`; `indexes[repository]` are (bytes, media type); `log` holds (method, path, headers).

    does(method, word, *deeds): the next requests with that word in their path get these deeds, one each; always(...): every one.
    A deed is called with the handler, and answers.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self):
        super().__init__((HOST, 0), _Handler)
        self.name = f"{HOST}:{self.server_address[1]}"
        self.images, self.indexes, self.log, self.rules = {}, {}, [], []
        self.connections = 0
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()
        self._thread.join()

    def get_request(self):
        self.connections += 1
        return super().get_request()

    def handle_error(self, *_):
        """A client that went away is none of ours."""

    def does(self, method, word, *deeds):
        """The next requests get these."""
        self.rules += [[method, word, deed, 1] for deed in deeds]

    def always(self, method, word, deed):
        """Every request gets this."""
        self.rules.append([method, word, deed, 1 << 30])

    def deed(self, method, path):
        """What was told for this request, or None."""
        for rule in self.rules:
            if rule[0] == method and rule[1] in path and rule[3]:
                rule[3] -= 1
                return rule[2]
        return None

    def asked(self, method, word):
        """The headers of the requests so far with that word in their path."""
        return [headers for one, path, headers in self.log if one == method and word in path]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Nothing."""

    def _any(self):
        self.server.log.append((self.command, self.path, self.headers))
        if deed := self.server.deed(self.command, self.path):
            return deed(self)
        return self.honest()

    do_GET = do_HEAD = do_POST = do_PUT = _any  # noqa: N815 - http.server's names

    def answer(self, status, data=b"", **headers):
        """A whole answer; headers' names with _ for -."""
        self.send_response(status)
        for name, value in {"Content_Length": len(data), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def found(self):
        """(bytes, media type) of what is asked for, or None."""
        repository, _, word = self.path.removeprefix("/v2/").partition("?")[0].rpartition("/")
        repository, _, kind = repository.rpartition("/")
        image, index = self.server.images.get(repository), self.server.indexes.get(repository)
        if kind == "manifests":
            if index and word in ("latest", digest_of(index[0])):
                return index
            images = image if isinstance(image, list) else [image]
            return next(((one.manifest, one.media) for one in images if one and word in ("latest", one.digest)), None)
        images = image if isinstance(image, list) else [image] if image else []
        data = next((one.blobs[word] for one in images if word in one.blobs), None)
        return data and (data, "application/octet-stream")

    def honest(self):
        """What a registry should answer."""
        if self.path == "/v2/":
            return self.answer(200, b"{}")
        found = self.found()
        if not found:
            return self.answer(404, b'{"errors":[{"code":"UNKNOWN","message":"no such thing"}]}')
        data, media = found
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        if start:
            return self.answer(206, data[start:], Content_Type=media, Content_Range=f"bytes {start}-{len(data) - 1}/{len(data)}")
        return self.answer(200, data, Content_Type=media)


# --- deeds


def says(status, data=b"", **headers):
    """Answer just this."""
    return lambda handler: handler.answer(status, data, **headers)


def cut_after(count, ranges=True):
    """Send so many bytes of what is asked for, and hang up."""

    def deed(handler):
        data, media = handler.found()
        start = int(handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-")) if ranges else 0
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(data) - start))
        handler.send_header("Content-Type", media)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        handler.end_headers()
        handler.wfile.write(data[start : start + count])
        handler.close_connection = True

    return deed


def without_ranges(handler):
    """The whole, whatever part was asked for."""
    data, media = handler.found()
    handler.answer(200, data, Content_Type=media)


def hangs_up(handler):
    """Nothing at all."""
    handler.close_connection = True


def endless(handler):
    """A body without an end."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/octet-stream")
    handler.end_headers()
    handler.close_connection = True
    for _ in range(20_000):
        handler.wfile.write(b"x" * 65536)


def waits_for(event):
    """Send half and then nothing until the event."""

    def deed(handler):
        data, media = handler.found()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.send_header("Content-Type", media)
        handler.end_headers()
        handler.wfile.write(data[: len(data) // 2])
        handler.wfile.flush()
        event.wait(TIMEOUT_S)
        handler.close_connection = True

    return deed
