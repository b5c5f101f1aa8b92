"""``preloader workspace index | graph | related | impact``: what a workspace knows of the files beneath a directory."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from preloader.cli.histories import progress
from preloader.errors import UnknownResourceError
from preloader.scheduling.execution import ThreadExecutor
from preloader.telemetry import logger

if TYPE_CHECKING:
    from preloader.workspace.graph.code_graph import CodeGraph
    from preloader.workspace.graph.diffs import Change
    from preloader.workspace.index import PathIndex

_GIT_S = 30.0
Root = Annotated[Path, typer.Argument(metavar="ROOT", help="The workspace's directory.")]
State = Annotated[Path | None, typer.Option("--state", file_okay=False, help="Keep the code graph in this directory.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def index(root: Root, as_json: Json = False) -> None:
    """List the files of a workspace: tracked, or neither tracked nor ignored."""

    async def listed() -> list[str]:
        async with _opened(root) as (files, _):
            return sorted(files.table)

    paths = asyncio.run(listed())
    _show({"files": paths} if as_json else "\n".join(paths))


def graph(root: Root, state: State = None, as_json: Json = False) -> None:
    """Build the code graph of a workspace, and say what it holds."""

    async def built() -> dict[str, Any]:
        began_s = time.perf_counter()
        async with _opened(root, state, build=True) as (_, code):
            return {**msgspec.to_builtins(await code.statistics()), "seconds": time.perf_counter() - began_s}

    held = asyncio.run(built())
    _show(held if as_json else "\n".join(f"{name}: {value:,.6g}" for name, value in held.items()))


def related(
    root: Root,
    path: Annotated[str, typer.Argument(help="A file, relative to ROOT.")],
    state: State = None,
    limit: Annotated[int, typer.Option(min=1, help="The most files.")] = 20,
    as_json: Json = False,
) -> None:
    """List the files that belong with one, with the reasons."""

    async def found() -> Any:
        async with _opened(root, state, build=True) as (files, code):
            inside = _known(path, root, files)
            return await code.related(inside, limit)

    files = asyncio.run(found())
    lines = (f"{one.score:.2f}  {one.path}  ({'; '.join(why.text for why in one.reasons)})" for one in files)
    _show({"related": files} if as_json else "\n".join(lines) or "nothing belongs with it")


def impact(
    root: Root,
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATH]…", help="What changed, relative to ROOT; unless given, what git has not committed yet."
        ),
    ] = None,
    state: State = None,
    as_json: Json = False,
) -> None:
    """Say what a change means: dependents, tests to run, migrations, blocking calls."""

    async def found() -> Any:
        async with _opened(root, state, build=True) as (files, code):
            if paths:
                return await code.impact([_known(path, root, files, deleted=True) for path in paths])
            return await code.impact(await asyncio.to_thread(_uncommitted, root))

    meant = asyncio.run(found())
    lines = [f"depends on it: {one.path} (over {one.via})" for one in meant.dependents]
    lines += [f"test to run: {one.path} ({one.reason})" for one in meant.tests]
    lines += [f"migration {one.state}: {one.path} ({one.reason})" for one in meant.migrations]
    lines += [f"blocks in a coroutine: {one.path}:{one.call.line} {one.call.call}" for one in meant.blocking]
    nothing = "nothing depends on it" if meant.changes else "nothing is changed that git has not committed"
    _show(meant if as_json else "\n".join(lines) or nothing)


def _known(path: str, root: Path, files: PathIndex, *, deleted: bool = False) -> str:
    """Return how the index names a file.

    Raises:
        RefusedPathError: It may not be looked at.
        UnknownResourceError: There is none, nor, where it may be ``deleted``, the directory that it was in.
    """
    from preloader.workspace.paths import Confined

    inside = str(Confined(root).check(path))
    if inside in files.table or (deleted and (root / inside).parent.is_dir() and not (root / inside).exists()):
        return inside
    raise UnknownResourceError(f"{path!r} is none of the files of {root}")


def _uncommitted(root: Path) -> list[Change]:
    from preloader.workspace.files import SourceFiles
    from preloader.workspace.graph_facts import uncommitted
    from preloader.workspace.paths import Confined
    from preloader.workspace.reading import Reading

    return uncommitted(Reading(SourceFiles(Confined(root)), {}, _GIT_S))


@asynccontextmanager
async def _opened(
    root: Path, state: Path | None = None, *, build: bool = False
) -> AsyncIterator[tuple[PathIndex, CodeGraph]]:
    from preloader.workspace.graph.code_graph import CodeGraph
    from preloader.workspace.index import PathIndex
    from preloader.workspace.paths import Confined

    root = Confined(root).root  # which says where a workspace may not be
    executor = ThreadExecutor()
    try:
        with _warnings(), progress("listing the files") as step:
            async with (
                PathIndex(root, executor=executor, watch=False) as files,
                CodeGraph(files.root, executor, state=state) as code,
            ):
                if build:
                    step(f"reading {len(files.table):,} files")
                    await code.build(files.table)
                yield files, code
    finally:
        await executor.aclose()


@contextmanager
def _warnings() -> Iterator[None]:
    """Say on stderr what an application would find in its log: that a graph cannot be kept, say."""
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("preloader: %(message)s"))
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _show(what: Any) -> None:
    print(what if isinstance(what, str) else msgspec.json.format(msgspec.json.encode(what)).decode())
