"""Who is spoken with, and how: redirects to this machine, proxies that want a password, answers whose head trickles."""

import contextlib
import socket
import threading

import pytest

from pyoci.minidocker.errors import RegistryProblem
from pyoci.minidocker.images import transport
from pyoci.minidocker.images.transport import Transport, proxy_for


@contextlib.contextmanager
def server(talk):
    """host:port of a thread that calls talk(connection) for each connection until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, contextlib.suppress(OSError):
                        talk(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def test_head_that_trickles_is_ended(monkeypatch):
    stop = threading.Event()

    def trickle(connection):
        if not connection.recv(4096).startswith(b"GET"):
            return  # the try with TLS
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while not stop.wait(0.05):
            connection.sendall(b"a")

    monkeypatch.setattr(transport, "HEAD_S", 0.3)
    monkeypatch.setattr(transport, "TRIES", 1)
    with server(trickle) as name:
        with pytest.raises(RegistryProblem):
            Transport().send("GET", name, "/")
        stop.set()


class Redirecting(Transport):
    """A transport whose only answer is a redirect."""

    def __init__(self, location):
        super().__init__()
        self.location = location

    def _once(self, method, host, path, headers, body):
        class Answer:
            status = 307
            headers = {"Location": self.location}

            def read(self, limit_bytes):
                return b""

            def close(self):
                pass

        return Answer()


@pytest.mark.parametrize(
    ("location", "said"),
    [
        ("https://127.0.0.1:8443/x", "redirects to 127.0.0.1:8443, which is this machine"),
        ("http://localhost/x", "redirects to localhost, which is this machine"),
        ("http://elsewhere.example/x", "redirects to elsewhere.example without TLS"),
        ("file:///etc/passwd", "redirects to"),
    ],
)
def test_registry_elsewhere_may_not_redirect_to(location, said):
    with pytest.raises(RegistryProblem, match=said):
        Redirecting(location).send("GET", "registry.example", "/v2/")


def test_proxy_gets_its_password(monkeypatch):
    monkeypatch.setenv("https_proxy", "http://me:pass%20word@proxy.example:8080")
    monkeypatch.setenv("no_proxy", "inside.example")
    assert proxy_for("https", "registry.example") == ("proxy.example:8080", {"Proxy-Authorization": "Basic bWU6cGFzcyB3b3Jk"})
    assert proxy_for("https", "inside.example") == ("", {})
    assert proxy_for("https", "127.0.0.1:5000") == ("", {})
