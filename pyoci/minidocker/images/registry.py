"""A repository of a registry: manifests and blobs over the distribution protocol, with the token flow that they ask for.

Source: distribution-spec 1.1; docker's "Token Authentication Specification" and its OAuth2 form; RFC 6750.
"""

import json
import os
import re
import threading
import urllib.parse

from pyoci.minidocker.errors import ImageProblem, MiniDockerError, RegistryProblem
from pyoci.minidocker.images import auth, documents
from pyoci.minidocker.images.content import digest_of, split_digest
from pyoci.minidocker.images.reference import DEFAULT_REGISTRY
from pyoci.minidocker.images.transport import AGAIN, Cut, Transport, drain, is_loopback, split_url

DOCKER_HUB = "registry-1.docker.io"
MAX_MANIFEST_BYTES = 4 << 20
MAX_WORDS_BYTES = 1 << 20
ACCEPT = ", ".join((*documents.MANIFESTS, *documents.INDEXES))
CONFIG_FILES = ("/etc/minidocker/config.json",)
BLOB_TRIES = 5
UPLOAD_TRIES = 3
PROGRESS_BYTES = 64 << 10  # less between two cuts is none
_TOKEN = re.compile(r"[!-~]+")
MAX_MESSAGE = 300


class Settings:
    """What MiniDocker's configuration says of registries: `insecure`, host names; `mirrors` of Docker Hub, host names.

    {"insecure-registries": ["host:port"], "registry-mirrors": ["https://host"]}, in /etc/minidocker/config.json or the file that $MINIDOCKER_CONFIG names.
    """

    def __init__(self, path=""):
        self.path = path or os.environ.get("MINIDOCKER_CONFIG") or CONFIG_FILES[0]
        config = auth.read_config(self.path)
        self.insecure = self._names(config, "insecure-registries")
        self.mirrors = [auth.host_of(name) for name in self._names(config, "registry-mirrors")]

    def _names(self, config, key):
        found = config.get(key) or []
        if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
            raise MiniDockerError(f"{self.path}: {key}: must be a list of names")
        return found


class Registry:
    """One repository (or none, to log in) at one host.  Threads may share it."""

    def __init__(self, registry, repository="", *, settings=None, credentials=None, actions="pull", transport=None):
        self.registry = registry
        self.repository = repository
        self.actions = actions
        settings = settings or Settings()
        self.host = DOCKER_HUB if registry == DEFAULT_REGISTRY else registry
        self.transport = transport or Transport(settings.insecure)
        self._credentials = credentials
        self._looked = credentials is not None
        self._authorization = ""
        self._lock = threading.Lock()

    def close(self):
        """Close the connections."""
        self.transport.close()

    def stop(self):
        """End every request of every thread: each fails."""
        self.transport.stop()

    # --- requests

    def _send(self, method, path, headers=None, body=None):
        """An Answer; a 401 is answered once, by a token or by name and password."""
        used = self._authorization
        answer = self.transport.send(method, self.host, path, self._with_authorization(headers, used), body)
        if answer.status != 401:
            return answer
        challenge = answer.headers.get("WWW-Authenticate", "")
        drain(answer)
        with self._lock:
            if self._authorization == used:  # else another thread was first
                self._authorization = self._authorize(challenge)
        return self.transport.send(method, self.host, path, self._with_authorization(headers, self._authorization), body)

    def _with_authorization(self, headers, authorization):
        return {**(headers or {}), **({"Authorization": authorization} if authorization else {})}

    def _known(self):
        if not self._looked:
            self._credentials, self._looked = auth.find(self.registry), True
        return self._credentials

    def _authorize(self, challenge):
        kind, _, rest = challenge.strip().partition(" ")
        words = {key.lower(): value for key, value in re.findall(r'([A-Za-z_]+)="([^"]*)"', rest)}
        known = self._known()
        if kind.lower() == "basic":
            if not known or not known.user:
                raise auth.refused(self.registry, f"{self.registry}: authentication required")
            return known.basic()
        if kind.lower() != "bearer" or not words.get("realm"):
            raise RegistryProblem(f"{self.registry}: asks for an authentication that is not known here: {challenge[:80]!r}")
        return "Bearer " + self._token(words, known)

    def _token(self, words, known):
        realm = split_url(words["realm"])
        if realm is None:
            raise RegistryProblem(f"{self.registry}: names {words['realm'][:200]!r} for tokens, which is no address")
        if realm.scheme == "http" and not self.transport.host(realm.netloc).plain_allowed:
            raise RegistryProblem(f"{self.registry}: names {words['realm']!r} for tokens, which is no place with TLS")
        self._refuse_this_machine(realm.netloc, "for a token")
        wanted = {"service": words.get("service", ""), "scope": self._scope(words)}
        query = [*urllib.parse.parse_qsl(realm.query), *((key, value) for key, value in wanted.items() if value)]
        headers, method, body = {}, "GET", None
        if known and known.token:
            form = {"grant_type": "refresh_token", "refresh_token": known.token, "client_id": "minidocker", **wanted}
            method, body, query = "POST", urllib.parse.urlencode(form).encode(), []
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        elif known and known.user:
            headers["Authorization"] = known.basic()
            query.append(("account", known.user))
        path = (realm.path or "/") + (f"?{urllib.parse.urlencode(query)}" if query else "")
        answer = self.transport.send(method, realm.netloc, path, headers, body)
        data = _whole(answer, MAX_WORDS_BYTES)
        if answer.status != 200:
            raise auth.refused(self.registry, self._problem(answer.status, data, "authentication"))
        try:
            found = json.loads(data)
            token = found.get("token") or found["access_token"]
            if isinstance(token, str) and _TOKEN.fullmatch(token):
                return token
        except (ValueError, KeyError, AttributeError, RecursionError):
            pass
        raise RegistryProblem(f"{realm.netloc}: a token that can't be read")

    def _refuse_this_machine(self, name, what):
        """A registry elsewhere can't send us to this host's own services."""
        if is_loopback(name) and not is_loopback(self.host):
            raise RegistryProblem(f"{self.registry}: sends us {what} to {name}, which is this machine")

    def _scope(self, words):
        if not self.repository:
            return words.get("scope", "")
        return f"repository:{self.repository}:{self.actions}"

    def _problem(self, status, data, what):
        """A RegistryProblem out of an answer that is none of those that are good."""
        code, message = "", ""
        try:
            first = json.loads(data)["errors"][0]
            code, message = str(first.get("code", "")), _printable(str(first.get("message", "")))
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            pass
        where = f"{self.registry}/{self.repository}" if self.repository else self.registry
        if status == 401 or code == "UNAUTHORIZED":
            return auth.refused(self.registry, f"{where}: {what}: not authorized{f': {message}' if message else ''}")
        if status == 403 or code == "DENIED":
            return RegistryProblem(f"{where}: {what}: denied{f': {message}' if message else ''}", hint=f"'minidocker login {self.registry}' may help", code="denied")
        if status == 404:
            hint = "is the name right? A private one takes 'minidocker login' first"
            return RegistryProblem(f"{where}: {what}: not found{f': {message}' if message else ''}", hint=hint, code="not found")
        if status == 429 or code == "TOOMANYREQUESTS":
            hint = "wait, or log in: known users may ask for more"
            return RegistryProblem(f"{where}: {what}: too many requests{f': {message}' if message else ''}", hint=hint, code="too many requests")
        return RegistryProblem(f"{where}: {what}: HTTP status {status}{f': {message}' if message else ''}", code=code)

    def check(self):
        """Whether the credentials are right.  Raises RegistryProblem."""
        answer = self._send("GET", "/v2/")
        data = _whole(answer, MAX_WORDS_BYTES)
        if answer.status != 200:
            raise self._problem(answer.status, data, "login")

    # --- manifests

    def manifest(self, word):
        """(bytes, media type, digest) of a tag's or digest's manifest or index.  Verified: what a digest names, has it."""
        answer = self._send("GET", f"/v2/{self.repository}/manifests/{urllib.parse.quote(word, safe=':')}", {"Accept": ACCEPT})
        data = _whole(answer, MAX_MANIFEST_BYTES)
        if answer.status != 200:
            raise self._problem(answer.status, data, f"manifest {word}")
        media = answer.headers.get_content_type()
        algorithm = split_digest(word)[0] if ":" in word else "sha256"
        digest = digest_of(data, algorithm)
        if ":" in word and digest != word:
            raise ImageProblem(f"{self.registry}: manifest {word}: the content that came has the digest {digest}")
        told = answer.headers.get("Docker-Content-Digest", "")
        if told.startswith(f"{algorithm}:") and told != digest:
            raise ImageProblem(f"{self.registry}: manifest {word}: announced as {told}, but the content has the digest {digest}")
        return data, media, digest

    def has_manifest(self, word):
        """The digest that a tag has there, or ""."""
        answer = self._send("HEAD", f"/v2/{self.repository}/manifests/{urllib.parse.quote(word, safe=':')}", {"Accept": ACCEPT})
        _whole(answer, MAX_WORDS_BYTES)
        return answer.headers.get("Docker-Content-Digest", "") if answer.status == 200 else ""

    def put_manifest(self, word, data, media):
        """Upload a manifest under a tag or digest."""
        answer = self._send("PUT", f"/v2/{self.repository}/manifests/{urllib.parse.quote(word, safe=':')}", {"Content-Type": media}, data)
        said = _whole(answer, MAX_WORDS_BYTES)
        if answer.status not in (200, 201, 202):
            raise self._problem(answer.status, said, f"manifest {word}")

    # --- blobs

    def fetch(self, writer, size, note=lambda count: None):
        """Fill a content.Writer with its blob, from the byte on that it has, and on again after a cut.  note(bytes so far).  Raises RegistryProblem, ImageProblem."""
        tries = 0
        while writer.offset < size or not writer.offset:
            before = writer.offset
            try:
                self._fetch_once(writer, size, note)
                return
            except Cut as error:
                if writer.cancelled:
                    writer.cancelled()
                tries = 0 if writer.offset >= before + PROGRESS_BYTES else tries + 1
                if tries == BLOB_TRIES:
                    raise RegistryProblem(str(error)) from error
                self.transport.pause(0.25 * 2**tries)

    def _fetch_once(self, writer, size, note):
        headers = {"Range": f"bytes={writer.offset}-"} if writer.offset else {}
        answer = self._send("GET", f"/v2/{self.repository}/blobs/{writer.digest}", headers)
        try:
            if writer.offset and not _goes_on(answer, writer.offset):
                if answer.status not in (200, 206, 416):
                    raise self._problem(answer.status, answer.read(MAX_WORDS_BYTES), f"blob {writer.digest}")
                writer.restart()
                if answer.status != 200:
                    raise Cut(f"{self.registry}: cannot go on with blob {writer.digest}")
            elif not writer.offset and answer.status != 200:
                raise self._problem(answer.status, answer.read(MAX_WORDS_BYTES), f"blob {writer.digest}")
            note(writer.offset)
            for data in answer.chunks(size - writer.offset):
                if writer.cancelled:
                    writer.cancelled()
                writer.write(data)
                note(writer.offset)
        finally:
            answer.close()
        if writer.offset < size:
            raise Cut(f"{self.registry}: blob {writer.digest}: {writer.offset} bytes came, {size} were announced")

    def has_blob(self, digest):
        """Whether the repository has a blob."""
        answer = self._send("HEAD", f"/v2/{self.repository}/blobs/{digest}")
        _whole(answer, MAX_WORDS_BYTES)
        return answer.status == 200

    def upload(self, digest, open_blob, size, mount_from=""):
        """Upload a blob.  open_blob(): a file.  mount_from: a repository here that has it.  Returns whether it was mounted instead.

        An upload that breaks, or whose token has run out, is begun anew: what a registry keeps of it can't be known.
        """
        for attempt in range(1, UPLOAD_TRIES + 1):
            answer = self._begin_upload(digest, mount_from)
            if answer is None:
                return True
            try:
                status, said = self._send_blob(answer, digest, open_blob, size)
            except RegistryProblem:
                if attempt == UPLOAD_TRIES:
                    raise
            else:
                if status in (200, 201, 204):
                    return False
                if attempt == UPLOAD_TRIES or status not in (401, *AGAIN):
                    raise self._problem(status, said, f"upload of {digest}")
            self.transport.pause(0.25 * 2**attempt)
        raise AssertionError("unreachable")

    def _begin_upload(self, digest, mount_from):
        """The registry's answer that says where to send it, or None if it was mounted."""
        query = f"?{urllib.parse.urlencode({'mount': digest, 'from': mount_from})}" if mount_from else ""
        answer = self._send("POST", f"/v2/{self.repository}/blobs/uploads/{query}", {"Content-Length": "0"})
        said = _whole(answer, MAX_WORDS_BYTES)
        if answer.status == 201 and mount_from:
            return None
        if answer.status != 202 or not answer.headers.get("Location"):
            raise self._problem(answer.status, said, f"upload of {digest}")
        return answer

    def _send_blob(self, begun, digest, open_blob, size):
        """(status, what was said) of the upload itself."""
        name, path = self._place(begun.headers["Location"], digest)
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        if name == self.host:
            headers = self._with_authorization(headers, self._authorization)
        answer = self.transport.send("PUT", name, path, headers, open_blob)
        return answer.status, _whole(answer, MAX_WORDS_BYTES)

    def _place(self, location, digest):
        """(host, path) where an upload goes on."""
        base = f"{self.transport.host(self.host).scheme()}://{self.host}"
        target = split_url(location, base)
        if target is None:
            raise RegistryProblem(f"{self.registry}: wants the upload at {location[:200]!r}")
        if target.scheme == "http" and not self.transport.host(target.netloc).plain_allowed:
            raise RegistryProblem(f"{self.registry}: wants the upload at {target.netloc} without TLS")
        self._refuse_this_machine(target.netloc, "with the upload")
        query = f"{target.query}&" if target.query else ""
        return target.netloc, f"{target.path}?{query}digest={urllib.parse.quote(digest, safe='')}"


def _printable(text):
    """What a registry says, short and without control characters: it goes to a terminal."""
    return "".join(one if one.isprintable() else " " for one in text[:MAX_MESSAGE]).strip()


def _goes_on(answer, offset):
    """Whether a partial answer begins where we stopped."""
    return answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {offset}-")


def _whole(answer, limit_bytes):
    try:
        return answer.read(limit_bytes)
    except Cut as error:
        raise RegistryProblem(str(error)) from error
    finally:
        answer.close()
