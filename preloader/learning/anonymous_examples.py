"""What a model without a vocabulary learns from: assistants that start cold, again and again.

Each assistant's history is cut into chunks, and each chunk is walked item by item with a memory that is empty at its
start. So the features are what they would be at run time after 0, 1, 2, … items, and the model learns how far to trust
counts at every age.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec
import numpy as np

from preloader.evaluation.cases import items_of, walk
from preloader.history import Session
from preloader.ndarray import NDArray
from preloader.prediction.anonymous_features import STEPS, see
from preloader.prediction.anonymous_memory import AnonymousSettings, Memory
from preloader.prediction.online import OnlinePredictor
from preloader.prediction.reuse import WINDOW

NOTHING = -1
"""The label of a step at which nothing came: the session had ended."""

NEW = 0
"""The label of a key that is no candidate; the candidate in slot n has the label n + 1."""


class Assistant(msgspec.Struct, frozen=True):
    """One assistant's history of one kind of item.

    Attributes:
        source: The data set that it is from; all sources count alike in training, however large they are.
        kind: The kind of the items.
        sessions: In the order in which they happened.
    """

    source: str
    kind: str
    sessions: Sequence[Session]


class AnonymousExamples(msgspec.Struct, frozen=True, eq=False):
    """Contexts and what came of them. Only candidates are stored: those of example n end at ``ends[n]``.

    Attributes:
        candidates: (all candidates, features) float16.
        uses: Whether each candidate was used, within `WINDOW` items and within as many as there are steps:
            (all candidates, 2) bool.
        ends: (examples,) int64.
        around: (examples, `AROUND`) float16.
        recent: (examples, rows) uint8.
        flags: (examples, rows, `FLAGS`) float16.
        labels: (examples, steps) int64.
        sources: (examples,) int64, numbers in ``names``.
        names: The sources.
    """

    candidates: NDArray[np.float16]
    uses: NDArray[np.bool_]
    ends: NDArray[np.int64]
    around: NDArray[np.float16]
    recent: NDArray[np.int32]
    flags: NDArray[np.float16]
    labels: NDArray[np.int64]
    sources: NDArray[np.int64]
    names: list[str]

    def __len__(self) -> int:
        return len(self.labels)


def chunks(sessions: Sequence[Session], kind: str, items: int) -> Iterator[list[Session]]:
    """Cut sessions into runs of at least ``items`` items each; what is left at the end is a shorter one."""
    chunk: list[Session] = []
    held = 0
    for session in sessions:
        chunk.append(session)
        held += len(items_of(session, kind))
        if held >= items:
            yield chunk
            chunk, held = [], 0
    if held:
        yield chunk


def anonymous_examples(
    assistants: Iterable[Assistant],
    settings: AnonymousSettings,
    steps: int,
    items: int,
    on_chunk: Callable[[], None] = lambda: None,
) -> AnonymousExamples:
    """Return everything that assistants teach.

    Args:
        assistants: They.
        settings: What the model sees.
        steps: How many items ahead it looks.
        items: How many items a memory lives at least before it starts cold again.
        on_chunk: Called after each chunk, for a progress bar.

    Raises:
        ValueError: They hold no item.
    """
    found: list[_Example] = []
    names: dict[str, int] = {}
    for assistant in assistants:
        source = names.setdefault(assistant.source, len(names))
        for chunk in chunks(assistant.sessions, assistant.kind, items):
            found.extend(_of_chunk(chunk, assistant.kind, settings, steps, source))
            on_chunk()
    if not found:
        raise ValueError("the assistants hold no item to learn from")
    return _gathered(found, list(names))


class _Example(msgspec.Struct, frozen=True, eq=False):
    candidates: NDArray[np.float16]
    uses: NDArray[np.bool_]
    around: NDArray[np.float16]
    recent: NDArray[np.int32]
    flags: NDArray[np.float16]
    labels: list[int]
    source: int


def _of_chunk(
    sessions: Iterable[Session], kind: str, settings: AnonymousSettings, steps: int, source: int
) -> Iterator[_Example]:
    memory, online = Memory(kind, settings), OnlinePredictor([kind])
    for session in sessions:
        items = items_of(session, kind)
        for cases, event in walk(session, kind):
            for case in cases:
                seen = see(memory, case.context, settings, online.distribution(case.context, kind, STEPS))
                following = items[case.position : case.position + WINDOW]
                labels = [seen.keys.get(key, -1) + 1 for key in following[:steps]]
                count = len(seen.keys)
                arrays = {name: array.astype(np.float16) for name, array in seen.arrays.items()}
                yield _Example(
                    arrays["candidates"][:count].copy(),
                    np.array([[key in following, key in following[:steps]] for key in seen.keys]).reshape(count, 2),
                    arrays["around"],
                    seen.arrays["recent"].astype(np.int32),
                    arrays["flags"],
                    labels + [NOTHING] * (steps - len(labels)),
                    source,
                )
            for case, key in zip(cases, event.keys(kind), strict=True):
                memory.learn(case.context, key, event.time_s)
            online.learn_one(event)


def _gathered(found: Sequence[_Example], names: list[str]) -> AnonymousExamples:
    return AnonymousExamples(
        candidates=np.concatenate([one.candidates for one in found]),
        uses=np.concatenate([one.uses for one in found]).astype(np.bool_),
        ends=np.cumsum([len(one.candidates) for one in found]),
        around=np.stack([one.around for one in found]),
        recent=np.stack([one.recent for one in found]),
        flags=np.stack([one.flags for one in found]),
        labels=np.array([one.labels for one in found], np.int64),
        sources=np.array([one.source for one in found], np.int64),
        names=names,
    )
