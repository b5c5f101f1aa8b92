"""HTTP connections that are open before they are needed, over real sockets."""

import asyncio
import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from preloader.components.http_connection import HttpConnections
from preloader.errors import LoadError
from tests.unit.component_scene import from_toml, play, until


class Server:
    """An HTTP server on the loopback that counts connections and requests."""

    def __init__(self, certificate=None):
        self.connections, self.requests = [], []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                outer.connections.append(self.connection)

            def do_GET(self):
                outer.requests.append(self.path)
                body = b"x" * int(self.headers.get("want", "5"))
                self.send_response(404 if self.path == "/absent" else 200)
                self.send_header("content-length", str(len(body)))
                for name, value in json.loads(self.headers.get("give", "[]")):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            scheme = "https"
        self.origin = (
            f"{scheme}://localhost:{self.server.server_port}"
            if certificate
            else (f"http://127.0.0.1:{self.server.server_port}")
        )
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def hang_up(self):
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.hang_up()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def server():
    made = Server()
    yield made
    made.close()


def test_connections_are_open_before_any_request_is_sent(tmp_path, server):
    registry = from_toml(tmp_path, f"loader = 'http:{server.origin}'", "connections = 2")

    async def body(manager):
        async with manager.use("component:x") as api:
            until(lambda: len(server.connections) == 2)
            assert server.requests == []
            assert api.idle() == 2
            answers = [await asyncio.to_thread(api.request, "GET", path) for path in ("/a", "/absent")]
            assert [(one.status, one.body, one.headers["content-length"]) for one in answers] == [
                (200, b"xxxxx", "5"),
                (404, b"xxxxx", "5"),
            ]
            assert len(server.connections) == 2
            return api

    api = play(registry, body)
    assert api.idle() == 0


def test_a_connection_that_the_server_closed_is_stale_and_replaced(tmp_path, server):
    registry = from_toml(tmp_path, f"loader = 'http:{server.origin}'")

    async def body(manager):
        first = await manager.get("component:x")
        assert await manager.get("component:x") is first
        until(lambda: server.connections)
        server.hang_up()
        until(lambda: first.idle() == 0)
        second = await manager.get("component:x")
        assert second is not first
        assert second.request("GET", "/").status == 200

    play(registry, body)


def test_an_idle_connection_expires():
    server, now_s = Server(), [0.0]
    pool = HttpConnections(server.origin, idle_s=10.0, clock=lambda: now_s[0])
    pool.warm()
    now_s[0] = 9.0
    assert pool.idle() == 1
    now_s[0] = 11.0
    assert pool.idle() == 0
    assert pool.request("GET", "/").status == 200  # over a new one
    pool.close()
    server.close()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_on_a_connection_that_breaks_is_sent_once_more_if_it_may_be(server, monkeypatch, method):
    pool = HttpConnections(server.origin)
    monkeypatch.setattr(pool, "_is_usable", lambda *_: True)  # it breaks after it was looked at
    pool.warm()
    until(lambda: server.connections)
    server.hang_up()
    if method == "GET":
        assert pool.request(method, "/").status == 200
        assert len(server.connections) == 2
    else:
        with pytest.raises(LoadError, match=rf"POST / of {server.origin} failed: "):
            pool.request(method, "/")
    pool.close()


def test_a_fresh_tls_connection_is_not_taken_for_closed(tmp_path):
    """TLS 1.3 sends tickets after the handshake: bytes that wait do not mean an end."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = [
        openssl,
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "1",
        "-keyout",
        key,
        "-out",
        certificate,
    ]
    subprocess.run([*command, *subject], check=True, capture_output=True)
    server = Server((certificate, key))
    context = ssl.create_default_context(cafile=certificate)
    pool = HttpConnections(server.origin, context=context)
    pool.warm()
    until(lambda: server.connections)
    assert [pool.idle() for _ in range(3)] == [1, 1, 1]
    assert pool.request("GET", "/").status == 200
    assert pool.idle() == 1
    with pytest.raises(LoadError, match="CERTIFICATE_VERIFY_FAILED"):
        HttpConnections(server.origin).warm()
    pool.close()
    server.close()


def test_an_origin_that_cannot_be_reached(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        registry = from_toml(tmp_path, f"loader = 'http:http://127.0.0.1:{unused.getsockname()[1]}'")

        async def body(manager):
            with pytest.raises(LoadError, match=r"http://127.0.0.1:\d+ cannot be reached: ConnectionRefusedError"):
                await manager.get("component:x")

        play(registry, body)


def test_as_many_connections_are_opened_as_asked_even_if_none_stays(server):
    ticks = iter(range(100))  # a fault here would never end
    pool = HttpConnections(server.origin, connections=3, idle_s=0.5, clock=lambda: next(ticks))  # each look: too old
    with pytest.raises(LoadError, match="closes connections as soon as they are open"):
        pool.warm()
    pool.close()
    until(lambda: len(server.connections) == 3)


def test_fields_that_repeat_are_all_there(server):
    cookie = "a=1; Expires=Mon, 23 Nov 2026 00:00:00 GMT"
    given = [("Set-Cookie", cookie), ("Vary", "accept"), ("Set-Cookie", "b=2"), ("vary", "origin")]
    pool = HttpConnections(server.origin)
    answer = pool.request("GET", "/", headers={"give": json.dumps(given)})
    pool.close()
    assert answer.values("Set-Cookie") == [cookie, "b=2"]
    assert answer.headers["vary"] == "accept, origin"
    assert [pair for pair in answer.fields if pair[0] == "vary"] == [("vary", "accept"), ("vary", "origin")]
    assert answer.values("absent") == []
