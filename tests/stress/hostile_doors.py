"""Every hostile path through every door of a `Workspace` with everything on; what is opened is watched from beneath.

Run as ``python -m tests.stress.hostile_doors DIRECTORY [EVERY]`` it prints what was tried and what came of it, and as
JSON what went wrong; with ``EVERY`` one in so many cases is tried on the doors that need not refuse them. It is a
program of its own since an audit hook stays for as long as its process. The hook sees what this process opens and
starts; inotify sees who opens a secret, an ignored file or one outside, programs that are started included.
"""

import asyncio
import ctypes
import json
import os
import struct
import sys
from collections import Counter
from pathlib import Path

import msgspec

from preloader.errors import PreloaderError
from preloader.workspace.advice.answer import GuessedArgument, GuessedCall, GuessedFile, NextStep
from preloader.workspace.advice.settings import Advice
from preloader.workspace.learn.models import load_models
from preloader.workspace.policy import SETTINGS
from preloader.workspace.workspace import Workspace
from tests.stress.hostile_world import CANARY, IGNORED_FILES, SECRET_FILES, World, paths

MODELS = Path(__file__).parents[2] / "models/workspace/models.npz"
PROGRAMS = ("git", Path(sys.executable).name)
WRITES = ("os.chmod", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate")
WORDS = 'Look at `{0}` and "{0}", then at {0}.\n  File "{0}", line 3, in total\n{0}:3:7: error\n    at f ({0}:3:7)\n'

_IN_OPEN, _EVENT = 0x20, struct.Struct("iIII")


class Opened:
    """Which of some files and directories were opened by whomever, as inotify tells."""

    def __init__(self, watched):
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._names = {}
        for path in watched:
            number = self._libc.inotify_add_watch(self._descriptor, os.fsencode(path), _IN_OPEN)
            assert number >= 0, os.strerror(ctypes.get_errno())
            self._names[number] = str(path)

    def take(self):
        """Return what was opened since this was asked last."""
        try:
            data = os.read(self._descriptor, 1_000_000)
        except BlockingIOError:
            return set()
        found, at = set(), 0
        while at < len(data):
            number, _, _, length = _EVENT.unpack_from(data, at)
            found.add(self._names.get(number, "?"))
            at += _EVENT.size + length
        return found


class Hook:
    """What this process opens that it must not, and what it starts, writes or connects to."""

    def __init__(self, world):
        self.faults = []
        self._root, self._base = str(world.root), str(world.base)
        self._names = {Path(name).name for name in (*SECRET_FILES, *IGNORED_FILES)} - {"x.py", "config"}
        parts = (self._root, sys.prefix, sys.base_prefix, MODELS.parents[2], *sys.path)
        self._allowed = (*map(os.path.realpath, parts), "/usr", "/lib", "/dev/null", "/proc/self/fd")
        sys.addaudithook(self)

    def __call__(self, event, args):
        if event == "open" and isinstance(args[0], str | bytes):
            self._opens(os.fsdecode(args[0]))
        elif event in ("os.listdir", "os.scandir") and isinstance(args[0], str) and not self._is_inside(args[0]):
            self.faults.append(f"{event} of {args[0]}")
        elif event == "subprocess.Popen" and Path(args[1][0]).name not in PROGRAMS:
            self.faults.append(f"{args[1]} was run")
        elif event in ("os.system", "os.exec", "socket.connect") or (event in WRITES and self._is_ours(args[0])):
            self.faults.append(f"{event} of {args!r}")

    def _opens(self, path):
        is_secret = Path(path).name in self._names
        leads_out = Path(path).is_absolute() and not self._is_inside(path)
        if is_secret or leads_out or ".." in Path(path).parts:
            self.faults.append(f"{path!r} was opened")

    def _is_inside(self, path):
        return os.path.realpath(path).startswith(self._allowed)

    def _is_ours(self, path):
        return isinstance(path, str) and os.path.realpath(path).startswith(self._base)


class Guesser:
    """A model that advises one hostile path after the other, to be read and in calls."""

    def __init__(self, texts):
        self._texts = [text for text in texts if text.isprintable()]
        self.asked = 0

    @property
    def done(self):
        return self.asked * 4 >= len(self._texts)

    async def complete(self, prompt, answer, timeout_s):
        some = self._texts[4 * self.asked : 4 * self.asked + 4]
        self.asked += 1
        calls = [
            GuessedCall(tool, [GuessedArgument("path", text)], 0.9)
            for tool, text in zip(("read_file", "list_directory") * 2, some, strict=False)
        ]
        return NextStep([GuessedFile(text, 0.9) for text in some], calls)


def doors(workspace):
    """Return what is called with each path, by name; and whether whatever comes of it must be a refusal."""

    def tool(name, **others):
        return lambda text: workspace.call_tool(name, {**others, **dict.fromkeys(others.get("as", ("path",)), text)})

    def fact(name):
        return lambda text: workspace.facts(name.format(text))

    async def edit(text):
        workspace.on_edit(text)

    return {
        "read_file": (workspace.read_file, True),
        "a fact: blame": (fact("git blame {}:1-5"), True),
        "a fact: syntax": (fact("syntax {}"), True),
        "a fact: diff": (fact("git diff {}"), False),
        "a fact: test files": (fact("test files {}"), False),
        "a fact: test setup": (fact("test setup {}"), False),
        "a call: read_file": (tool("read_file"), True),
        "a call: list_directory": (tool("list_directory"), True),
        "a call: glob": (tool("glob", pattern="**"), True),
        "a call: grep": (tool("grep", pattern="canary"), True),
        "a call: git_diff": (tool("git_diff"), False),
        "a call: git_log": (tool("git_log"), False),
        "on_edit": (edit, False),
    }


class Attack:
    """All attempts on one world."""

    def __init__(self, world, every=1):
        self.world = world
        self.cases = list(paths(world))
        self.some = self.cases[::every]
        self.faults = []
        self.counts = Counter()
        self.tried = set()
        self.prepared = set()
        self.guesser = Guesser([text for _, text in self.cases])
        self.workspace = Workspace(
            world.root,
            models=load_models(MODELS),
            settings=msgspec.structs.replace(SETTINGS, pressure=False, waste_budget=None, quarantine_after=10**6),
            advice=Advice(model=self.guesser, calls_per_minute=10**6, tokens_per_session=10**9),
        )
        inside = [world.root / name for name in (*SECRET_FILES, *IGNORED_FILES)]
        outside = [world.outside, *world.outside.rglob("*"), world.base / "root2", world.base / "root2/page.txt"]
        self.outside, self.inside = Opened(outside), Opened(inside)
        self.hook = Hook(world)

    async def run(self):
        async with self.workspace:
            await self._settle("starting")
            for name, (door, is_refused) in doors(self.workspace).items():
                for what, text in self.cases if is_refused else self.some:
                    await self._try(f"{what}, by {name}: {text[:60]!r}", door, text, is_refused)
                self.tried.add(name)
                self._look(name, reads_all="git" in name or "diff" in name)
            for source in ("user", "assistant", "thinking", "tool_output", "tool_call"):
                await self._say(source)
            await self._advise()
        if self.workspace.statistics().failures:
            self.faults.append(f"{self.workspace.statistics().failures} steps of the analysis failed")

    async def _try(self, what, door, text, is_refused):
        self.counts["attempts"] += 1
        try:
            value = await door(text)
        except PreloaderError as error:
            self.counts["refused"] += 1
            if CANARY in str(error) and CANARY not in text:
                self.faults.append(f"{what}: the message gives a secret away")
        except Exception as error:
            self.faults.append(f"{what}: {error!r}")
        else:
            self.counts["harmless"] += 1
            if is_refused:
                self.faults.append(f"{what}: was served {str(value)[:60]!r}")
            self._check(what, value)

    def _check(self, what, value):
        data = getattr(value, "data", None)
        if CANARY.encode() in (data if isinstance(data, bytes) else repr(value).encode("utf-8", "replace")):
            self.faults.append(f"{what}: a secret was served")

    def _look(self, what, *, reads_all=False):
        """See what was opened meanwhile; git itself looks at all files to tell which have changed."""
        inside = self.inside.take()
        for path in self.outside.take() | (set() if reads_all else inside):
            self.faults.append(f"{what}: {path} was opened")
        if self.world.marker.exists():
            self.faults.append(f"{what}: a program of the repository's was run")
            self.world.marker.unlink()
        self.faults += [f"{what}: {fault}" for fault in dict.fromkeys(self.hook.faults)]
        self.hook.faults.clear()

    async def _settle(self, what):
        """Wait until all that was expected is loaded, and look at it."""
        await self.workspace.settled()
        for _ in range(4_000):
            await asyncio.sleep(0.002)
            if not any(tier.queued or tier.loading for tier in self.workspace.manager_statistics().tiers.values()):
                break
        for entry in self.workspace.manager._store.speculative():
            self.prepared.add(entry.key)
            self._check(f"{what}: {entry.key} was prepared", getattr(entry.value, "value", entry.value))

    async def _say(self, source):
        self.tried.add(f"feed: {source}")
        for number, (_, text) in enumerate(self.some):
            self.counts["attempts"] += 1
            stream = f"{source}-{number}"
            if source == "tool_call":
                for tool in ("read_file", "list_directory", "Bash"):
                    told = json.dumps({"command": f"cat {text}"} if tool == "Bash" else {"path": text})
                    self.workspace.feed(told[:9], source, stream=f"{stream}{tool}", tool=tool)
                    self.workspace.feed(told[9:], source, stream=f"{stream}{tool}", last=True)
            else:
                self.workspace.feed(WORDS.format(text), source, stream=stream, last=True)
            if number % 60 == 59:
                await self._settle(f"feed: {source}")
                self.workspace.new_query("And now?")
        await self._settle(f"feed: {source}")
        self._look(f"feed: {source}")

    async def _advise(self):
        self.tried.add("advice")
        self.counts["attempts"] += len(self.guesser._texts)
        while not self.guesser.done:
            asked = self.guesser.asked
            self.workspace.feed("Go on.", "user", last=True)
            await self.workspace.settled()
            while self.guesser.asked == asked:
                await asyncio.sleep(0)
        await self._settle("advice")
        self._look("advice")


def main():
    attack = Attack(World(Path(sys.argv[1])), *map(int, sys.argv[2:]))
    asyncio.run(attack.run())
    counts = dict(attack.counts)
    print(
        f"{len(attack.cases)} cases x {len(attack.tried)} doors = {counts['attempts']:,} attempts: "
        f"{counts['refused']:,} refused, {counts['harmless']:,} answered with what is harmless, "
        f"{len(attack.prepared)} harmless resources prepared; {len(attack.faults)} broke through"
    )
    document = {"cases": len(attack.cases), "doors": len(attack.tried), **counts, "faults": attack.faults}
    print(json.dumps({**document, "prepared": sorted(attack.prepared)}))


if __name__ == "__main__":
    main()
