"""What is said in the workspace's soak: words, calls that stream, outputs; cut anywhere, and not all finished."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence

from benchmarks.soak_asking import Asking
from benchmarks.soak_world import Place
from preloader.workspace.mentions import Source
from preloader.workspace.workspace import Workspace

_SENTENCES = (
    "Let me look at `{0}` and then at {1}. ",
    "The test in {0}:12 fails because of {1}:3:7. ",
    'File "{0}", line 12, in total\n  "{1}"\n',
    "Now I'll search for the version in {0}, and edit {1}. ",
    "{0}:1:version 000000000001 of it\n{1}:1:version 000000000002\n",
)
_WORDS: tuple[Source, ...] = ("assistant", "thinking", "user", "tool_output")
_FAILED = "FAILED {0}::test_total - assert 1 == 2\n1 failed in 0.1s\n"


class Talking:
    """Feeds a workspace as an agent's session would, with the calls that are announced.

    Args:
        workspace: What is fed.
        places: What is spoken of.
        asking: Makes the calls.
        rng: What is said.

    Attributes:
        counts: How often what was done.
    """

    def __init__(self, workspace: Workspace, places: Sequence[Place], asking: Asking, rng: random.Random) -> None:
        self.counts: Counter[str] = Counter()
        self._workspace = workspace
        self._places = places
        self._asking = asking
        self._rng = rng
        self._calls = 0

    async def anything(self) -> None:
        """Say one thing or another."""
        doing = (self._speak, self._speak, self._call, self._call, self._test, self._told, self._ask_anew)
        weights = (8, 8, 4, 4, 1, 2, 0.5)
        (do,) = self._rng.choices(doing, weights)
        self.counts[do.__name__.strip("_")] += 1
        await do()
        if self._rng.random() < 0.2:
            await self._workspace.settled()
        await asyncio.sleep(self._rng.choice((0.0, 0.002, 0.02)))

    async def _speak(self) -> None:
        pair = [place.name for place in self._rng.choices(self._places, k=2)]
        text = "".join(sentence.format(*pair) for sentence in self._rng.choices(_SENTENCES, k=3))
        source = self._rng.choice(_WORDS)
        ends = self._rng.random() < 0.8  # some streams are never ended
        await self._feed(text, source, f"said-{self._rng.randrange(10**6)}", ends)

    async def _call(self) -> None:
        """Announce a call bit by bit, make it, and feed what it returned."""
        place, stream = self._rng.choice(self._places), self._stream()
        directory = place.name.rpartition("/")[0] or "."
        tool, arguments, make = self._rng.choice(
            (
                ("Read", {"file_path": place.name}, self._asking.text),
                ("Read", {"file_path": place.name}, self._asking.file),
                ("LS", {"path": directory}, self._asking.listing),
                ("Grep", {"pattern": "version", "path": directory, "glob": "*.txt"}, self._asking.search),
                ("Glob", {"pattern": "*", "path": directory}, self._asking.names),
            )
        )
        await self._feed(json.dumps(arguments), "tool_call", stream, self._rng.random() < 0.95, tool)
        await asyncio.sleep(self._rng.choice((0.0, 0.005, 0.03)))
        output = await make(place)
        if self._rng.random() < 0.95:
            await self._feed(output, "tool_output", stream, True)

    async def _test(self) -> None:
        stream, place = self._stream(), self._rng.choice(self._places)
        await self._feed(json.dumps({"command": "pytest -q"}), "tool_call", stream, True, "Bash")
        await self._feed(_FAILED.format(place.name), "tool_output", stream, True)

    async def _told(self) -> None:
        self._workspace.on_edit(self._rng.choice(self._places).name)

    async def _ask_anew(self) -> None:
        self._workspace.new_query(f"What about {self._rng.choice(self._places).name}?")

    def _stream(self) -> str:
        self._calls += 1
        return f"call-{self._calls}"

    async def _feed(self, text: str, source: Source, stream: str, ends: bool, tool: str = "") -> None:
        pieces = list(self._cut(text))
        for number, piece in enumerate(pieces, 1):
            self._workspace.feed(piece, source, stream=stream, last=ends and number == len(pieces), tool=tool)
            await asyncio.sleep(0)

    def _cut(self, text: str) -> Iterator[str]:
        begin = 0
        while begin < len(text) or not begin:
            end = begin + self._rng.randint(1, 40)
            yield text[begin:end]
            begin = end
