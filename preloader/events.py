"""The words of the domain: what happened, what is expected, what was decided, how it ended.

Everything that travels the one flow (event → prediction → decision → preload → outcome) is defined here, as
immutable `msgspec` structs, so that every layer speaks of the same things. A *resource key* is ``kind:name``
(``component:tts``, ``file:src/app.py``, ``tool:Bash``); a *kind* is also what a prediction targets.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from enum import IntEnum, StrEnum
from typing import Annotated

import msgspec

CONTEXT_EVENTS = 32
"""How many of a session's latest events a `Context` holds."""

ResourceKey = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]*:(?s:.+)$")]
ContextValue = str | int | float | bool


def resource_key(kind: str, name: str) -> str:
    """Return the resource key of ``name`` within ``kind``."""
    return f"{kind}:{name}"


def kind_of(key: str) -> str:
    """Return the kind of a resource key: what stands before its first colon."""
    return key.partition(":")[0]


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that happened.

    Attributes:
        user: Whose assistant it was; predictors keep users apart.
        session: The conversation or run that it belongs to, unique within the user.
        time_s: When it began, in seconds since 1970.
        action: What was done: a command, a tool's name, ``user`` where the user spoke.
        text: The words that came with it, if any.
        resources: Keys of the resources that it used, in order of use.
        duration_s: How long it took, where that is known.
        ok: Whether it succeeded, where that is known.
        context: Circumstances: place, device, screen, … Keys are free, values are plain.
    """

    user: str
    session: str
    time_s: float
    action: str
    text: str | None = None
    resources: tuple[ResourceKey, ...] = ()
    duration_s: float | None = None
    ok: bool | None = None
    context: dict[str, ContextValue] = {}

    def keys(self, kind: str) -> list[str]:
        """Return the resource keys of one kind, in order of use: the *items* that this event adds for that kind."""
        prefix = kind + ":"
        return [key for key in self.resources if key.startswith(prefix)]

    def known_at(self, time_s: float) -> Event:
        """Return the event as it was known at ``time_s``: without result and duration if it had not ended by then."""
        if self.duration_s is None or self.time_s + self.duration_s <= time_s:
            return self
        return msgspec.structs.replace(self, ok=None, duration_s=None)


class Context(msgspec.Struct, frozen=True):
    """What is known of one session before its next event: all that a prediction may look at.

    Attributes:
        user: As in the events.
        session: As in the events.
        recent: The session's latest events, oldest first, at most `CONTEXT_EVENTS`.
    """

    user: str = ""
    session: str = ""
    recent: tuple[Event, ...] = ()

    @property
    def time_s(self) -> float | None:
        """When the latest event began; ``None`` at the start of a session."""
        return self.recent[-1].time_s if self.recent else None

    def after(self, event: Event) -> Context:
        """Return the context that follows once ``event`` has happened."""
        return Context(self.user, self.session, self.recent[1 - CONTEXT_EVENTS :] + (event,))  # noqa: RUF005 - faster

    def items(self, kind: str) -> Iterator[str]:
        """Yield the keys of ``kind`` that the session used, latest first."""
        for event in reversed(self.recent):
            yield from reversed(event.keys(kind))


class ContextTracker:
    """Keeps the `Context` of every live session; the longest untouched is forgotten past ``max_sessions``."""

    def __init__(self, max_sessions: int = 1_024) -> None:
        self._contexts: OrderedDict[tuple[str, str], Context] = OrderedDict()
        self._max_sessions = max_sessions

    def __len__(self) -> int:
        return len(self._contexts)

    def context(self, user: str, session: str) -> Context:
        """Return the session's context; an empty one for a session not seen."""
        return self._contexts.get((user, session)) or Context(user, session)

    def observe(self, event: Event) -> Context:
        """Add ``event`` to its session and return the context that follows it."""
        user, session = slot = (event.user, event.session)
        contexts = self._contexts
        before = contexts.get(slot)
        if before is None:
            context = contexts[slot] = Context(user, session, (event,))
            if len(contexts) > self._max_sessions:
                contexts.popitem(last=False)
        else:
            context = contexts[slot] = before.after(event)
            contexts.move_to_end(slot)
        return context

    def end(self, user: str, session: str) -> None:
        """Forget a session."""
        self._contexts.pop((user, session), None)

    def contexts(self) -> list[Context]:
        """Return every live session's context, the longest untouched first: what `restore` takes."""
        return list(self._contexts.values())

    def restore(self, contexts: Iterable[Context]) -> None:
        """Replace all sessions."""
        self._contexts = OrderedDict(((context.user, context.session), context) for context in contexts)


class Prediction(msgspec.Struct, frozen=True, gc=False):
    """A resource and its calibrated probabilities.

    Attributes:
        key: The resource.
        per_step: P(the k-th next item of its kind is this key), for k = 1…H. For one kind they sum to at most 1 a step.
        p_use_if_loaded: P(used before it would be evicted or the session ends | loaded now): what a preload is worth.
        p_use_soon: P(used within the next H items | resident): what drives eviction.
    """

    key: str
    per_step: tuple[float, ...]
    p_use_if_loaded: float
    p_use_soon: float


class Tier(IntEnum):
    """The three queues; a lower number goes first."""

    IMMEDIATE = 0
    DELAYED = 1
    BACKGROUND = 2


class Decision(msgspec.Struct, frozen=True, gc=False):
    """What a policy says to one prediction: a tier, or a refusal, and why.

    Attributes:
        key: The resource.
        tier: Where to queue it; ``None`` refuses.
        probability: The probability that decided.
        steps: How many items ahead the need is expected.
        rule: Why, as a format string over `values` and ``p``, the probability; filled only when somebody asks.
        values: The figures for ``rule``, which decisions of one rule may share.
    """

    key: str
    tier: Tier | None
    probability: float
    steps: int
    rule: str
    values: dict[str, float | str] = {}

    @property
    def reason(self) -> str:
        """The reason in words."""
        return self.rule.format(**{"p": self.probability, **self.values})


class NeedOutcome(StrEnum):
    """How a need ended ; a need is a ``get``."""

    HIT = "hit"
    LATE_HIT = "late_hit"
    MISS = "miss"


class PreloadOutcome(StrEnum):
    """How a preload ended."""

    USED = "used"
    WASTED = "wasted"
    FAILED = "failed"
    DROPPED = "dropped"


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """One need, ended: which resource was asked for, and how long the asker waited."""

    key: str
    user: str
    session: str
    time_s: float
    outcome: NeedOutcome
    waited_s: float


class Preload(msgspec.Struct, frozen=True, kw_only=True):
    """One preload, ended.

    Attributes:
        key: The resource.
        user: For whom it was made.
        session: In which session; an unused preload is wasted when that ends.
        tier: The tier that it was queued in last.
        probability: The probability that decided.
        steps: How many items ahead the need was expected.
        bytes: Its size, with the dependencies that it alone brought in; 0 if nothing was loaded.
        queued_s: When it was queued, on the manager's monotonic clock, as are the others.
        started_s: When loading began, ``None`` if it never did.
        ready_s: When it was ready, ``None`` if it never was.
        ended_s: When the outcome was known.
        outcome: Exactly one of `PreloadOutcome`.
        reason: Why it ended so, in words.
    """

    key: str
    user: str
    session: str
    tier: Tier
    probability: float
    steps: int
    bytes: int
    queued_s: float
    started_s: float | None
    ready_s: float | None
    ended_s: float
    outcome: PreloadOutcome
    reason: str
