"""Replays recorded sessions through a real `Workspace` in virtual time.

The files that a session's calls named are made anew in a temporary directory, with nothing of theirs in them, and are
written again where the session edited them. A read asks for its file before its call is fed, so that what is ready was
ready before the call.
"""

from __future__ import annotations

import asyncio
import posixpath
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

import msgspec

from preloader.errors import PreloaderError
from preloader.events import Need, Preload, PreloadOutcome
from preloader.manager import PreloadManager
from preloader.ports import Loaded
from preloader.replay.clock import run_virtual
from preloader.scheduling.execution import InlineExecutor
from preloader.workspace.files import WorkspaceFiles
from preloader.workspace.learn.fitting import Known
from preloader.workspace.learn.items import Item, ItemType, Recording
from preloader.workspace.learn.models import Models
from preloader.workspace.learn.path_book import PathBook
from preloader.workspace.learn.tokens import is_file
from preloader.workspace.mentions import Source
from preloader.workspace.next_action import action_of_call
from preloader.workspace.paths import Confined
from preloader.workspace.policy import SETTINGS, policy_of
from preloader.workspace.providers import WorkspaceProviders
from preloader.workspace.workspace import Workspace, WorkspaceStatistics

DEFAULT_LOAD_S = 0.05

_SOURCES: dict[ItemType, Source] = {
    "user_text": "user",
    "assistant_text": "assistant",
    "thinking": "thinking",
    "tool_result": "tool_output",
}
_FIELDS = ("file_path", "notebook_path", "path", "filePath", "absolute_path", "target_file")
_MOST_PAUSE_S = 3_600.0
_MOST_FILES, _FILLER_BYTES = 20_000, 1_000
_ODD = re.compile(r"[^\w.-]")
_ELSEWHERE, _PATTERN = ("~", "...", "-", "+"), re.compile(r"[*?{}<>|]")  # what calls and outputs name is not all a path


class Replayed(msgspec.Struct, frozen=True):
    """What a workspace was worth in one session.

    Attributes:
        repository: Of which repository.
        session: Which session.
        reads: Reads of files in the workspace.
        cold: Those whose file no earlier call had named.
        cold_ready: Those of them whose file was ready, or nearly.
        prepared: Files that were prepared, each counted once.
        prepared_then_read: Those of them that were read after it, if only in answer to a later query.
        statistics: The workspace's own.
    """

    repository: str
    session: str
    reads: int
    cold: int
    cold_ready: int
    prepared: int
    prepared_then_read: int
    statistics: WorkspaceStatistics


class _SlowFiles(WorkspaceFiles):
    """Files whose loading takes time on the virtual clock."""

    load_s = 0.0

    async def load(self, key: str) -> Loaded:
        await asyncio.sleep(self.load_s)
        return await super().load(key)


def replay_session(
    recording: Recording,
    *,
    files: Iterable[str] = (),
    models: Models | None = None,
    known: Known | None = None,
    load_s: float = DEFAULT_LOAD_S,
) -> Replayed:
    """Replay one session.

    Args:
        recording: It.
        files: Other files of its repository, which words may mean as well as those that its calls name.
        models: What ranks files and calls; rules do unless given.
        known: What earlier sessions of the repository taught; this one is added.
        load_s: How long a file takes to load.

    Raises:
        VirtualTimeError: A part waits for real time.
    """
    name = _ODD.sub("_", recording.repository.rpartition("/")[2]).strip(".") or "workspace"
    with tempfile.TemporaryDirectory(prefix="preloader-replay-") as directory:
        root = Path(directory) / name
        root.mkdir()
        return run_virtual(_Session(recording, root, load_s).play(files, models, known))


class _Session:
    def __init__(self, recording: Recording, root: Path, load_s: float) -> None:
        self._recording = recording
        self._root = root
        self._load_s = load_s
        self._book = PathBook(recording.repository)
        self._confined = Confined(root)
        self._named: set[str] = set()
        self._made: set[str] = set()
        self._prepared: set[str] = set()  # keys
        self._then_read: set[str] = set()
        self._reads = self._cold = self._cold_ready = self._edits = 0

    async def play(self, files: Iterable[str], models: Models | None, known: Known | None) -> Replayed:
        self._make(file for item in self._recording.items if (file := self._file(item)))
        self._make(file for path in files if (file := self._inside(path)))
        executor = InlineExecutor()
        providers = WorkspaceProviders(self._confined)
        providers.files = _SlowFiles(self._confined)
        providers.files.load_s = self._load_s
        settings = msgspec.structs.replace(SETTINGS, pressure=False)
        manager = PreloadManager(
            {"file": providers.files},
            policy=policy_of(settings),
            settings=settings,
            executor=executor,
            listeners=[self._ended],
            cpu_load=lambda: 0.0,
        )
        self._now_s = self._recording.items[0].time_s
        async with (
            manager,
            Workspace(
                self._root,
                manager=manager,
                providers=providers,
                models=models,
                known=known,
                executor=executor,
                watch=False,
                graph=False,
                user=self._recording.repository,
                session=self._recording.session,
                wall_clock=lambda: self._now_s,
            ) as workspace,
        ):
            await self._items(workspace)
        return Replayed(
            self._recording.repository,
            self._recording.session,
            self._reads,
            self._cold,
            self._cold_ready,
            len(self._prepared),
            len(self._then_read),
            workspace.statistics(),
        )

    async def _items(self, workspace: Workspace) -> None:
        for item in self._recording.items:
            await asyncio.sleep(min(_MOST_PAUSE_S, max(0.0, item.time_s - self._now_s)))
            self._now_s = max(self._now_s, item.time_s)
            if item.type == "tool_call":
                await self._call(workspace, item)
            elif item.type == "user_text":
                workspace.new_query(item.text)
            else:
                workspace.feed(item.text, _SOURCES[item.type], stream=item.id, last=True)
        await workspace.settled()

    async def _call(self, workspace: Workspace, item: Item) -> None:
        file = self._file(item)
        if file in self._made and file is not None:
            action = action_of_call(item.tool, item.arguments)
            if action == "read":
                await self._read(workspace, file)
            elif action == "edit":
                self._edit(file)
                workspace.on_edit(file)
        if file:
            self._named.add(file)
        arguments = msgspec.json.encode(item.arguments).decode()
        workspace.feed(arguments, "tool_call", stream=item.id, tool=item.tool, last=True)

    def _ended(self, ended: Need | Preload) -> None:
        """Note which files were prepared: what was given up unused may still be read after it."""
        if isinstance(ended, Need):
            if ended.key in self._prepared:
                self._then_read.add(ended.key)
        elif ended.outcome in (PreloadOutcome.USED, PreloadOutcome.WASTED):
            self._prepared.add(ended.key)
            if ended.outcome is PreloadOutcome.USED:
                self._then_read.add(ended.key)

    async def _read(self, workspace: Workspace, file: str) -> None:
        misses = workspace.statistics().misses
        await workspace.read_file(file)
        self._reads += 1
        if file not in self._named:
            self._cold += 1
            self._cold_ready += workspace.statistics().misses == misses

    def _file(self, item: Item) -> str | None:
        """Return the file that a call names, relative to the repository; ``None`` if it names none within."""
        named = next((one for field in _FIELDS if isinstance(one := item.arguments.get(field), str) and one), "")
        return self._inside(self._book.plain(named)) if item.type == "tool_call" and named else None

    def _inside(self, path: str) -> str | None:
        path = posixpath.normpath(path)
        if not is_file(path) or path.startswith(_ELSEWHERE) or _PATTERN.search(path):
            return None
        try:
            return str(self._confined.check(path))
        except PreloaderError:
            return None

    def _make(self, files: Iterable[str]) -> None:
        for file in dict.fromkeys(files):
            if file in self._made:
                continue
            try:
                (self._root / file).parent.mkdir(parents=True, exist_ok=True)
                (self._root / file).write_bytes(b"." * _FILLER_BYTES)
            except OSError:  # one log names it as a file and as a directory, or by a name that this system cannot have
                continue
            self._made.add(file)
            if len(self._made) >= _MOST_FILES:
                return

    def _edit(self, file: str) -> None:
        self._edits += 1
        (self._root / file).write_bytes(f"{self._edits:0{_FILLER_BYTES}}".encode())
