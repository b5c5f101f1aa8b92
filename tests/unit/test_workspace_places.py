"""Which directory a workspace serves, and where it keeps what it learns: never another than the one that was named."""

import asyncio

import pytest

from preloader.errors import ConfigurationError
from preloader.manager import PreloadManager
from preloader.workspace.providers import WorkspaceProviders
from preloader.workspace.workspace import Workspace
from tests.unit.workspace_tree import write


@pytest.fixture
def roots(tmp_path):
    for name in ("one", "other"):
        write(tmp_path / name, {"a.py": f"{name} = 1\n"})
    return tmp_path / "one", tmp_path / "other"


def test_a_root_other_than_the_providers_is_refused(roots):
    one, other = roots
    with pytest.raises(ConfigurationError, match=r"root must be that of the providers, '.*one', not '.*other'"):
        Workspace(other, providers=WorkspaceProviders(one))


def test_a_manager_that_serves_another_root_is_refused(roots):
    one, other = roots
    manager = PreloadManager(WorkspaceProviders(one).by_kind)
    with pytest.raises(ConfigurationError, match=r"serves other providers than those given, of '.*other'"):
        Workspace(other, manager=manager, providers=WorkspaceProviders(other))


def test_a_manager_may_serve_some_of_the_kinds_alone_and_a_root_may_be_a_link(roots, tmp_path):
    one, _ = roots
    (tmp_path / "link").symlink_to(one)
    providers = WorkspaceProviders(one)

    async def scenario():
        async with PreloadManager({"file": providers.files}) as manager:
            link = tmp_path / "link"
            async with Workspace(link, manager=manager, providers=providers, watch=False, graph=False) as workspace:
                return (await workspace.read_file("a.py")).text

    assert asyncio.run(scenario()) == "one = 1\n"


def test_the_directory_of_the_state_may_be_a_text(roots, tmp_path):
    one, _ = roots

    async def scenario():
        async with Workspace(str(one), state_dir=str(tmp_path / "state"), watch=False) as workspace:
            return await workspace.facts("related a.py")

    assert not asyncio.run(scenario())
    assert (tmp_path / "state" / "code-graph.sqlite3").exists()
