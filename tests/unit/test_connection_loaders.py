"""Components that are connections and programs, over real sockets, pipes and processes."""

import asyncio
import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from preloader.components.http_connection import HttpConnections, HttpLoader
from preloader.components.mcp_connection import McpConnection, McpLoader
from preloader.components.process import ProcessLoader
from preloader.components.registry import ComponentRegistry
from preloader.errors import ConfigurationError, LoadError
from preloader.manager import PreloadManager
from preloader.scheduling.execution import ThreadExecutor
from preloader.settings import Settings

MCP_SERVER = Path(__file__).parent / "mcp_server.py"


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


def until(holds):
    for _ in range(2_000):
        if holds():
            return
        threading.Event().wait(0.005)
    raise AssertionError("it never came true")


def from_toml(folder, *lines):
    path = folder / "components.toml"
    path.write_text("[components.x]\n" + "\n".join(lines))
    return ComponentRegistry.from_toml(path)


def play(registry, body):
    async def main():
        settings = Settings(load_attempts=1)
        async with PreloadManager({"component": registry.provider()}, settings=settings) as manager:
            return await body(manager)

    return asyncio.run(main())


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


CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(100)'])"
ECHO = """
import subprocess, sys
block = bytearray(60_000_000)
deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(100)"
child = subprocess.Popen([sys.executable, '-c', deaf], stdout=subprocess.PIPE)
child.stdout.readline()
print('starting', flush=True)
print('ready with', child.pid, flush=True)
for line in sys.stdin:
    print(line.strip()[::-1], flush=True)
"""


def test_a_program_is_started_measured_spoken_with_and_ended_with_its_children(tmp_path):
    (tmp_path / "echo.py").write_text(ECHO)
    command = f"command = ['{sys.executable}', 'echo.py']"
    registry = from_toml(tmp_path, "loader = 'subprocess'", command, "ready = '^ready'", "bytes = 1", "load_s = 1")

    async def body(manager):
        async with manager.use("component:x") as program:
            assert manager.statistics().resident_bytes > 60_000_000
            program.stdin.write(b"abc\n")
            assert await program.stdout.readline() == b"cba\n"
            return program

    program = play(registry, body)
    assert program.process.returncode is not None
    child = int(program.ready_line.split()[-1])
    until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)


def test_a_program_that_has_ended_is_started_again(tmp_path):
    command = f"command = ['{sys.executable}', '-c', 'input()']"
    registry = from_toml(tmp_path, "loader = 'subprocess'", command, "bytes = 1", "load_s = 1")

    async def body(manager):
        first = await manager.get("component:x")
        first.stdin.write(b"\n")
        await first.process.wait()
        second = await manager.get("component:x")
        assert second.process.pid != first.process.pid

    play(registry, body)


def test_what_a_program_that_ends_leaves_behind_is_ended_then_and_its_number_not_used_later(monkeypatch):
    leaves = f"{ECHO.split('for line')[0]}\ninput()"

    async def main():
        loaded = await ProcessLoader([sys.executable, "-c", leaves], "^ready").load(executor := ThreadExecutor())
        child = int(loaded.value.ready_line.split()[-1])
        loaded.value.stdin.write(b"\n")
        await loaded.value.process.wait()
        until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)
        monkeypatch.setattr(os, "killpg", lambda *arguments: pytest.fail("by now it may be another's"))
        await loaded.value.stop()
        await executor.aclose()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("command", "ready", "reason"),
    [
        (["no-such-program"], None, "'no-such-program' cannot be started: No such file or directory"),
        ([sys.executable, "-c", "raise SystemExit(3)"], "go", r"ended with 3 before it wrote 'go'"),
        ([sys.executable, "-c", "print('x' * 3_000_000)"], "go", "wrote a line of more than 1,048,576 bytes"),
    ],
)
def test_a_program_that_does_not_start(command, ready, reason):
    registry = ComponentRegistry()
    registry.add("x", ProcessLoader(command, ready), bytes=1, load_s=1.0)

    async def body(manager):
        with pytest.raises(LoadError, match=reason):
            await manager.get("component:x")

    play(registry, body)


def test_a_program_whose_start_is_cancelled_is_ended():
    registry = ComponentRegistry()
    registry.add("x", ProcessLoader([sys.executable, "-c", CHILD], "never"), bytes=1, load_s=1.0)
    before = set(children())

    async def body(manager):
        need = asyncio.create_task(manager.get("component:x"))
        while len(set(children()) - before) < 1:
            await asyncio.sleep(0.01)
        need.cancel()
        await asyncio.wait([need])

    play(registry, body)
    until(lambda: not set(children()) - before)


def test_a_program_that_ignores_being_asked_is_killed():
    stubborn = (
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True)\nwhile True: input()"
    )

    async def main():
        loaded = await ProcessLoader([sys.executable, "-c", f"{stubborn}; time.sleep(100)"], "on").load(
            ThreadExecutor()
        )
        await loaded.value.stop(grace_s=0.05)
        return loaded.value.process.returncode

    assert asyncio.run(main()) == -9


def children():
    return [one.pid for one in psutil.Process(os.getpid()).children() if one.status() != psutil.STATUS_ZOMBIE]


def test_an_mcp_connection_whose_goodbye_is_given_up_does_not_stay():
    class Deaf(McpConnection):
        async def _live(self, server):
            await asyncio.Event().wait()

    async def main():
        connection = Deaf("server")
        goodbye = asyncio.create_task(connection.close())
        await asyncio.sleep(0)
        goodbye.cancel()  # as an unload is after load_timeout_s
        await asyncio.wait([goodbye])
        await asyncio.sleep(0)
        assert goodbye.cancelled()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_an_mcp_server_is_connected_to_and_called(tmp_path):
    pytest.importorskip("mcp")
    registry = from_toml(tmp_path, "loader = 'mcp'", f"command = ['{sys.executable}', '{MCP_SERVER}']")
    before = set(children())

    async def body(manager):
        async with manager.use("component:x") as connection:
            answer = await connection.client.call_tool("add", {"a": 2, "b": 3})
            assert answer.content[0].text == "5"
            assert await manager.get("component:x") is connection
            connection._seen_s -= 100  # long ago: now it is asked
            assert await manager.get("component:x") is connection
            for pid in set(children()) - before:
                os.kill(pid, 9)
            until(lambda: not set(children()) - before)
            connection._seen_s -= 100
        second = await manager.get("component:x")
        assert second is not connection
        assert (await second.client.call_tool("add", {"a": 1, "b": 1})).content[0].text == "2"

    play(registry, body)
    until(lambda: not set(children()) - before)


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        ([sys.executable, "-c", "print('no MCP')"], "cannot be connected to: "),
        (["no-such-program"], "the MCP server 'no-such-program' cannot be connected to: "),
        ("http://127.0.0.1:9/mcp", "the MCP server 'http://127.0.0.1:9/mcp' cannot be connected to: "),
        ("http://me:pass@127.0.0.1:9/mcp?key=1", "the MCP server 'http://127.0.0.1:9/mcp' cannot be connected to: "),
    ],
)
def test_a_server_that_is_none(server, reason):
    pytest.importorskip("mcp")
    registry = ComponentRegistry()
    registry.add("x", McpLoader(server))

    async def body(manager):
        with pytest.raises(LoadError, match=reason):
            await manager.get("component:x")

    play(registry, body)


@pytest.mark.parametrize(
    ("lines", "line", "reason"),
    [
        (
            ["loader = 'http:ftp://host'"],
            2,
            "'components.x.loader': origin must be one such as 'https://api.example.com'",
        ),
        (["loader = 'http:https://host/path'"], 2, "'components.x.loader': origin must be one such as"),
        (["loader = 'http:https://me@host'"], 2, "'components.x.loader': origin must be one such as"),
        (["loader = 'http:https://host:port'"], 2, "'components.x.loader': origin must be one such as"),
        (["loader = 'http:https://h'", "connections = 0"], 3, "'components.x.connections': must be at least 1, not 0"),
        (["loader = 'http:https://h'", "idle_s = -1"], 3, "'components.x.idle_s': must be a number above 0, not -1.0"),
        (
            ["loader = 'http:https://h'", "command = ['x']"],
            3,
            "'components.x.command': is only for loader = ",
        ),
        (["loader = 'subprocess'", "bytes = 1", "load_s = 1"], 1, "'components.x.command': is missing: it lists"),
        (["loader = 'subprocess'", "command = []"], 3, "'components.x.command': must be a list of a program and its"),
        (["loader = 'subprocess'", "command = 'ls -l'"], 3, "'components.x.command': must be array, not 'ls -l'"),
        (
            ["loader = 'subprocess'", "command = ['x']", "ready = '('"],
            4,
            "'components.x.ready': must be a regular ",
        ),
        (
            ["loader = 'subprocess'", "command = ['x']"],
            1,
            "'components.x.bytes': is missing: of 'subprocess' it ",
        ),
        (["loader = 'subprocess:x'"], 2, "'components.x.loader': must be 'simulated', "),
        (
            ["loader = 'mcp:nowhere'"],
            2,
            "'components.x.loader': must be a URL such as 'https://host/mcp', not '",
        ),
        (
            ["loader = 'mcp:https://h'", "command = ['x']"],
            3,
            "'components.x.command': is only for loader = 'mcp'",
        ),
        (["loader = 'mcp'"], 1, "'components.x.command': is missing: it lists the program and its arguments"),
    ],
)
def test_a_mistake_in_a_registry_is_shown_in_its_place(tmp_path, lines, line, reason):
    with pytest.raises(ConfigurationError) as caught:
        from_toml(tmp_path, *lines)
    assert str(caught.value).startswith(f"{tmp_path}/components.toml:{line}, field {reason}")


def test_mistakes_in_python_are_refused_at_once():
    for make in (lambda: HttpLoader("nothing"), lambda: McpLoader([]), lambda: ProcessLoader("ls -l")):
        with pytest.raises(ConfigurationError):
            make()
    with pytest.raises(ConfigurationError, match="bytes and load_s must be given, for its loader cannot tell them"):
        ComponentRegistry().add("x", ProcessLoader(["x"]))
