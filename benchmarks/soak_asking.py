"""What the workspace's soak asks for, and whether each answer was true at some moment between question and answer."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Awaitable, Sequence
from typing import Any

from benchmarks.soak_world import Place, State, is_torn
from preloader.errors import LoadError, UnknownResourceError
from preloader.workspace.files import SourceFile
from preloader.workspace.workspace import Workspace


class Asking:
    """Asks a workspace, and keeps what of its answers was never so.

    Args:
        workspace: Who is asked.
        places: What may be read.
        head: Which branch there is.
        rng: What is asked for.

    Attributes:
        stale: What was served and should not have been, in words.
        counts: What was asked for: as many needs as the ledger must have entered.
        errors: Why there was no answer, as where a file did not stay the same for as long as reading it took.
    """

    def __init__(self, workspace: Workspace, places: Sequence[Place], head: Place, rng: random.Random) -> None:
        self.stale: list[str] = []
        self.counts: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self._workspace = workspace
        self._places = list(places)
        self._head = head
        self._rng = rng

    async def anything(self) -> None:
        """Ask for one thing or another."""
        ask = self._rng.choice((self.file, self.file, self.text, self.listing, self.search, self.names, self.fact))
        await ask(self._rng.choice(self._places))

    async def file(self, place: Place) -> str:
        """Read a file; return its text, or nothing."""
        reached = place.reached
        source = await self._answer("read_file", self._workspace.read_file(place.name))
        if not isinstance(source, LoadError):
            self._check("read_file", place, reached, source.data if isinstance(source, SourceFile) else None)
        return source.data.decode() if isinstance(source, SourceFile) else ""

    async def text(self, place: Place) -> str:
        """Have a tool read a file; return its text, or nothing."""
        reached = place.reached
        found = await self._call("Read", {"file_path": place.name})
        if not isinstance(found, LoadError):
            self._check("Read", place, reached, None if found is None else found.text.encode())
        return getattr(found, "text", "")

    async def listing(self, place: Place) -> str:
        """List the directory that a file is in; return the names."""
        directory, beside, reached = self._around(place)
        entries = await self._call("LS", {"path": directory or "."})
        if isinstance(entries, LoadError):
            return ""
        files = {entry.name for entry in entries or () if entry.kind == "file"}
        for one, before in zip(beside, reached, strict=True):
            states, is_there = one.since(before), one.path.name in files
            if all((state is not None) != is_there for state in states):
                self.stale.append(f"LS said {is_there} of {one.name}, which was {states}")
        return "\n".join(sorted(files))

    async def search(self, place: Place) -> str:
        """Search the files of a directory; return the lines found."""
        directory, beside, reached = self._around(place)
        found = await self._call("Grep", {"pattern": "version", "path": directory or ".", "glob": "*.txt"})
        if isinstance(found, LoadError) or found is None:
            return ""
        lines = {match.path: match.text.encode() for match in found.matches}
        for one, before in zip(beside, reached, strict=True):
            states = one.since(before)
            shown = {state.rstrip(b"\n") if state and b"version" in state else None for state in states}
            if lines.get(one.name) not in shown and not is_torn(lines.get(one.name), shown):
                self.stale.append(f"Grep found {lines.get(one.name)!r} in {one.name}, where it was {states}")
        return "\n".join(f"{match.path}:{match.line}:{match.text}" for match in found.matches)

    async def names(self, place: Place) -> str:
        """Look for a directory's files by a pattern; return them."""
        directory, beside, reached = self._around(place)
        found = await self._call("Glob", {"pattern": "*", "path": directory or "."})
        if isinstance(found, LoadError):
            return ""
        paths = {path.rpartition("/")[2] for path in found.paths} if found else set()
        for one, before in zip(beside, reached, strict=True):
            states, is_there = one.since(before), one.path.name in paths
            if all((state is not None) != is_there for state in states):
                self.stale.append(f"Glob said {is_there} of {one.name}, which was {states}")
        return "\n".join(sorted(paths))

    async def fact(self, place: Place) -> str:
        """Ask which branch there is, whether a file can be parsed, or for what is as it may be; return the answer."""
        if place.name.endswith(".json"):
            return await self._syntax(place)
        name = self._rng.choice(("git status", "git status", "test failures", f"test files {place.name}"))
        reached = self._head.reached
        found = await self._answer("facts", self._workspace.facts(name))
        if name == "git status" and not isinstance(found, LoadError) and found is not None:
            self._check("git status", self._head, reached, found.branch.encode())
        return str(found)[:500]

    async def _syntax(self, place: Place) -> str:
        reached = place.reached
        found = await self._answer("facts", self._workspace.facts(f"syntax {place.name}"))
        if isinstance(found, LoadError):
            return ""
        said = None if found is None else not found.problems
        states = place.since(reached)
        if said not in {_parses(state) for state in states} and len({s for s in states if s}) < 2:
            self.stale.append(f"syntax said {said} of {place.name}, which was {states}")
        return str(found)

    def _around(self, place: Place) -> tuple[str, list[Place], list[int]]:
        """Return a place's directory, the places in it but for links, and what they have reached."""
        directory = place.name.rpartition("/")[0]
        beside = [one for one in self._places if one.name.rpartition("/")[0] == directory and not one.is_link]
        return directory, beside, [one.reached for one in beside]

    async def _call(self, tool: str, arguments: dict[str, Any]) -> Any:
        return await self._answer(tool, self._workspace.call_tool(tool, arguments))

    async def _answer(self, what: str, asked: Awaitable[Any]) -> Any:
        """Return an answer; None where there is nothing, the error where it could not be had."""
        self.counts[what] += 1
        try:
            return await asked
        except UnknownResourceError:
            return None
        except LoadError as error:
            self.errors[str(error).rpartition(": ")[2][:80]] += 1
            return error

    def _check(self, what: str, place: Place, reached: int, served: State) -> None:
        states = place.since(reached)
        if served not in states and not is_torn(served, set(states)):
            self.stale.append(f"{what} served {served!r} of {place.name}, which was {states}")


def _parses(state: State) -> bool | None:
    if state is None:
        return None
    try:
        json.loads(state)
    except ValueError:
        return False
    return True
