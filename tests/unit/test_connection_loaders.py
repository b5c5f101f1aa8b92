"""Components that are MCP connections, over real processes, and what a registry refuses of connections and programs."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from preloader.components.http_connection import HttpLoader
from preloader.components.mcp_connection import McpConnection, McpLoader
from preloader.components.process import ProcessLoader
from preloader.components.registry import ComponentRegistry
from preloader.errors import ConfigurationError, LoadError
from tests.unit.component_scene import children, from_toml, play, until

MCP_SERVER = Path(__file__).parent / "mcp_server.py"


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
