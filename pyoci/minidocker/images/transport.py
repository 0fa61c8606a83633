"""HTTP to registries: connections that are kept, TLS, proxies, redirects, time-outs and tries.  Knows no registry's paths (registry.py).

TLS is verified with the system's authorities and, as docker does it, with those in /etc/docker/certs.d/HOST/*.crt (and $MINIDOCKER_CERTS/HOST); NAME.cert and
NAME.key beside them are ours.  Plain HTTP is spoken with loopback and with hosts that the configuration names insecure, nobody else.
Source: http.client, RFC 9110; docker's "Protect the daemon's certificates"; the environment's http_proxy, https_proxy, no_proxy.
"""

import base64
import contextlib
import http.client
import ipaddress
import os
import socket
import ssl
import threading
import time
import urllib.parse
import urllib.request

from pyoci import __version__
from pyoci.minidocker.errors import RegistryProblem

TIMEOUT_S = 30
TRIES = 5
LONGEST_WAIT_S = 60
MAX_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
AGAIN = (429, 500, 502, 503, 504)
CERTS = ("/etc/docker/certs.d", "/etc/minidocker/certs.d")
HEADERS = {"User-Agent": f"minidocker/{__version__}"}
HEAD_S = 60  # for the whole head of an answer: the time-out of a socket begins anew with every byte
SLOWEST_BYTES_S, SLOW_WINDOW_S = 256, 60


class Cut(Exception):
    """A connection that broke or an answer that ended early: worth another try."""


class Refused(RegistryProblem):
    """Nobody listens at that port."""


class Host:
    """A host to speak with: `name` (host[:port]), and whether plain HTTP is allowed."""

    def __init__(self, name, insecure=False):
        self.name = name
        self.insecure = insecure
        self.plain_allowed = insecure or is_loopback(name)
        self._idle = []
        self._busy = {}  # connection: its socket, which http.client forgets when the answer is the last
        self._stopped = False
        self._lock = threading.Lock()
        self._scheme = ""
        self._tls = None

    def take(self):
        """A kept connection, or a new one.  Raises RegistryProblem, Cut."""
        with self._lock:
            kept = self._idle.pop() if self._idle and not self._stopped else None
        connection = kept or self._connect()
        with self._lock:
            self._busy[connection] = connection.sock
            if self._stopped:
                _shut(connection.sock)
        return connection, kept is not None

    def give_back(self, connection, keep):
        """Keep a connection whose answer was read to its end, or close it."""
        with self._lock:
            self._busy.pop(connection, None)
            if keep and not self._stopped:
                self._idle.append(connection)
                return
        connection.close()

    def stop(self):
        """End every connection, and those to come: whoever waits for one gets a Cut."""
        with self._lock:
            self._stopped = True
            for sock in self._busy.values():
                _shut(sock)

    def close(self):
        """Close what is kept."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()

    def _connect(self):
        if self._scheme != "http":
            try:
                connection = self._open("https")
                self._scheme = "https"
                return connection
            except ssl.SSLError as error:
                if not (self.plain_allowed and _speaks_plainly(error)):
                    raise _tls_problem(self.name, error) from error
            except Refused:
                # Who names a host without a port may mean 443 or 80, as docker tries them.
                if not self.plain_allowed or split_host(self.name, 0)[1]:
                    raise
        self._scheme = "http"
        return self._open("http")

    def _open(self, scheme):
        proxy, pass_on = proxy_for(scheme, self.name)
        host, port = split_host(self.name, 443 if scheme == "https" else 80)
        where = split_host(proxy, 3128) if proxy else (host, port)
        if scheme == "https":
            connection = http.client.HTTPSConnection(*where, timeout=TIMEOUT_S, context=self._context())
            if proxy:
                connection.set_tunnel(host, port, pass_on)
        else:
            connection = http.client.HTTPConnection(*where, timeout=TIMEOUT_S)
            connection.prefix, connection.pass_on = (f"http://{self.name}", pass_on) if proxy else ("", {})
        try:
            connection.connect()
        except ssl.SSLError:
            raise
        except ValueError as error:  # the idna codec's
            raise RegistryProblem(f"{self.name}: not a host's name") from error
        except socket.gaierror as error:
            raise RegistryProblem(f"{self.name}: cannot find this host: {error.strerror}", hint="is the name right, and is there a name server?") from error
        except TimeoutError as error:
            raise Cut(f"{self.name}: no answer in {TIMEOUT_S} seconds") from error
        except ConnectionRefusedError as error:
            raise Refused(f"{self.name}: connection refused", hint="does a registry listen there?") from error
        except OSError as error:
            raise Cut(f"{self.name}: {error.strerror or error}") from error
        return connection

    def _context(self):
        """The TLS settings, read once: the system's authorities alone take 20 ms."""
        with self._lock:
            if self._tls is None:
                self._tls = tls_context(self.name, self.insecure)
            return self._tls

    def scheme(self):
        """`https`, or `http` where that was found to be spoken."""
        return self._scheme or "https"


def is_loopback(name):
    """Whether a host[:port] is this very machine."""
    host = split_host(name, 0)[0]
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def split_host(name, default_port):
    """(host, port) of host[:port] or [::1]:port.  Raises RegistryProblem."""
    if name.startswith("["):
        host, _, rest = name[1:].partition("]")
        port = rest.removeprefix(":")
    else:
        host, _, port = name.partition(":")
    if port and not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise RegistryProblem(f"{name}: not a port: {port}")
    return host, int(port) if port else default_port


def proxy_for(scheme, name):
    """(host:port of the environment's proxy or "" where it is to be gone round, the headers that it wants)."""
    proxies = urllib.request.getproxies_environment()
    if scheme not in proxies or is_loopback(name) or urllib.request.proxy_bypass_environment(name, proxies):
        return "", {}
    url = proxies[scheme]
    user, _, host = urllib.parse.urlsplit(url if "//" in url else f"//{url}").netloc.rpartition("@")
    word = base64.b64encode(urllib.parse.unquote(user).encode()).decode()
    return host, {"Proxy-Authorization": f"Basic {word}"} if user else {}


def tls_context(name, insecure=False):
    """The TLS settings for a host.  Raises RegistryProblem for certificates that can't be read."""
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    for folder in cert_folders(name):
        path = folder
        try:
            for file in sorted(os.listdir(folder)):
                path = f"{folder}/{file}"
                if file.endswith(".crt"):
                    context.load_verify_locations(path)
                elif file.endswith(".cert"):
                    context.load_cert_chain(path, path[: -len("cert")] + "key")
        except ssl.SSLError as error:
            raise RegistryProblem(f"{path}: no certificate in PEM, or none that belongs to its key") from error
        except OSError as error:
            raise RegistryProblem(f"{path}: {error.strerror or error}") from error
    return context


def cert_folders(name):
    """The folders that have certificates for a host."""
    roots = [os.environ["MINIDOCKER_CERTS"]] if os.environ.get("MINIDOCKER_CERTS") else CERTS
    return [f"{root}/{name}" for root in roots if os.path.isdir(f"{root}/{name}")]


def _speaks_plainly(error):
    """Whether a TLS failure means that the other side speaks HTTP."""
    reasons = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "UNEXPECTED_EOF_WHILE_READING", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")
    return getattr(error, "reason", "") in reasons


def _tls_problem(name, error):
    if isinstance(error, ssl.SSLCertVerificationError):
        text = f"{name}: its certificate is not trusted: {error.verify_message}"
        return RegistryProblem(text, hint=f"put the certificate of its authority into /etc/docker/certs.d/{name}/ca.crt", code="tls")
    if _speaks_plainly(error):
        text = f"{name}: speaks HTTP without TLS, which is allowed with loopback only"
        return RegistryProblem(text, hint='name it in "insecure-registries" of /etc/minidocker/config.json if you trust the way to it', code="tls")
    return RegistryProblem(f"{name}: TLS: {error.reason or error}", code="tls")


class Answer:
    """An answer whose body is still to be read.  `status`, `headers`; read(), chunks(), close() in any order, close() always."""

    def __init__(self, host, connection, response):
        self.host = host
        self.connection = connection
        self.response = response
        self.status = response.status
        self.headers = response.headers

    def read(self, limit_bytes):
        """The whole body.  Raises RegistryProblem above limit_bytes, Cut when it ends early."""
        return b"".join(self.chunks(limit_bytes))

    def chunks(self, limit_bytes, size=1 << 18):
        """The body in pieces.  Raises RegistryProblem above limit_bytes or when it trickles, Cut when it ends early."""
        got, window, since = 0, 0, time.monotonic()
        while True:
            try:
                data = self.response.read1(size) if size else b""
            except (OSError, http.client.HTTPException) as error:
                raise Cut(f"{self.host.name}: {error or type(error).__name__}") from error
            if not data:
                break
            got += len(data)
            window += len(data)
            if got > limit_bytes:
                raise RegistryProblem(f"{self.host.name}: sends more than the {limit_bytes} bytes that were to come")
            if time.monotonic() - since > SLOW_WINDOW_S:
                if window < SLOWEST_BYTES_S * SLOW_WINDOW_S:
                    raise RegistryProblem(f"{self.host.name}: sends less than {SLOWEST_BYTES_S} bytes a second")
                window, since = 0, time.monotonic()
            yield data
        if self.response.length:
            raise Cut(f"{self.host.name}: the answer ended {self.response.length} bytes early")

    def close(self):
        """Keep the connection where the whole body was read, else end it."""
        whole = self.response.isclosed() or self.response.length == 0
        self.response.close()
        self.host.give_back(self.connection, whole and not self.response.will_close)


class Transport:
    """Sends requests, follows redirects, tries again.  `pause(seconds)` is what it waits with (tests count instead)."""

    def __init__(self, insecure=(), pause=time.sleep):
        self.insecure = set(insecure)
        self.pause = pause
        self.stopped = False
        self._hosts = {}
        self._lock = threading.Lock()

    def host(self, name):
        """The Host of that name."""
        with self._lock:
            return self._hosts.setdefault(name, Host(name, name in self.insecure))

    def close(self):
        """Close every connection that is kept."""
        for host in self._hosts.values():
            host.close()

    def stop(self):
        """End every request of every thread: each fails without another try."""
        with self._lock:
            self.stopped = True
            hosts = list(self._hosts.values())
        for host in hosts:
            host.stop()

    def send(self, method, name, path, headers=None, body=None):
        """The Answer of a request to host `name`.  body: bytes, or a function that opens a file.

        Only GET and HEAD follow redirects, and lose the Authorization on the way to another host: a body may hold a secret too.
        Tries again what may be repeated: not POST, and not a file.  Raises RegistryProblem.
        """
        headers = dict(headers or {})
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._with_tries(method, name, path, headers, body)
            if method not in ("GET", "HEAD") or answer.status not in REDIRECTS or "Location" not in answer.headers:
                return answer
            name, path, headers = self._redirected(name, path, headers, answer)
        raise RegistryProblem(f"{name}: more than {MAX_REDIRECTS} redirects")

    def _redirected(self, name, path, headers, answer):
        host = self.host(name)
        location = answer.headers["Location"]
        drain(answer)
        target = split_url(location, f"{host.scheme()}://{name}{path}")
        if target is None:
            raise RegistryProblem(f"{name}: redirects to {location[:200]!r}")
        if target.scheme == "http" and not self.host(target.netloc).plain_allowed:
            raise RegistryProblem(f"{name}: redirects to {target.netloc} without TLS")
        if is_loopback(target.netloc) and not is_loopback(name):
            raise RegistryProblem(f"{name}: redirects to {target.netloc}, which is this machine")
        if target.netloc != name:
            headers = {key: value for key, value in headers.items() if key.lower() not in ("authorization", "cookie")}
        return target.netloc, urllib.parse.urlunsplit(("", "", target.path or "/", target.query, "")), headers

    def _with_tries(self, method, name, path, headers, body):
        tries = 1 if method == "POST" or callable(body) else TRIES
        for attempt in range(1, tries + 1):
            try:
                answer = self._once(method, self.host(name), path, headers, body)
            except Cut as error:
                if attempt == tries or self.stopped:
                    raise RegistryProblem(str(error)) from error
                wait_s = 0.25 * 2**attempt
            else:
                if answer.status not in AGAIN or attempt == tries:
                    return answer
                wait_s = _asked_wait(answer, 0.25 * 2**attempt)
                drain(answer)
            self.pause(wait_s)
        raise AssertionError("unreachable")

    def _once(self, method, host, path, headers, body):
        while True:
            if self.stopped:
                raise Cut(f"{host.name}: the requests were ended")
            connection, kept = host.take()
            data = body() if callable(body) else body
            try:
                target = getattr(connection, "prefix", "") + path
                connection.request(method, target, body=data, headers={**HEADERS, **headers, **getattr(connection, "pass_on", {})})
                with _ended_after(connection, HEAD_S):
                    return Answer(host, connection, connection.getresponse())
            except (OSError, http.client.HTTPException) as error:
                host.give_back(connection, False)
                if kept and not callable(body) and not self.stopped:
                    continue  # the other side closed it while it lay idle
                if isinstance(error, TimeoutError):
                    raise Cut(f"{host.name}: no answer in {TIMEOUT_S} seconds") from error
                raise Cut(f"{host.name}: {getattr(error, 'strerror', '') or error or type(error).__name__}") from error
            finally:
                if callable(body):
                    data.close()


@contextlib.contextmanager
def _ended_after(connection, limit_s):
    """End the connection if the with block takes longer; what it waits for then fails."""
    timer = threading.Timer(limit_s, lambda: _shut(connection.sock))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _shut(sock):
    """End what another thread may be waiting for: closing a socket would not wake it."""
    if sock:
        with contextlib.suppress(OSError):  # closed meanwhile
            socket.socket.shutdown(sock, socket.SHUT_RDWR)  # TLS's own shutdown would take its object from that thread


def split_url(url, base=""):
    """The parts of a http or https URL, which may be relative to a base; None for anything else."""
    try:
        found = urllib.parse.urlsplit(urllib.parse.urljoin(base, url))
    except ValueError:
        return None
    return found if found.scheme in ("http", "https") and found.netloc else None


def _asked_wait(answer, otherwise_s):
    asked = answer.headers.get("Retry-After", "")
    return min(int(asked[:9]), LONGEST_WAIT_S) if asked.isascii() and asked.isdigit() else otherwise_s


def drain(answer, limit_bytes=1 << 20):
    """Read a body that nobody wants, so that the connection can be kept."""
    with contextlib.suppress(Cut, RegistryProblem):
        answer.read(limit_bytes)
    answer.close()
