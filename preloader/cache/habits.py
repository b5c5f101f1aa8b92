"""What sessions use at which time of day: what is worth having ready before anything was said.

For each user, and for everybody together, a small table counts the sessions that began in each hour of a working day or
a weekend, and in how many of them each key was used. Asked at some time, the hours around it speak with a Gaussian
kernel, the other sort of day with a small weight; a user's own table goes as far as its sessions carry it beyond
everybody's. Older sessions fade.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated

import msgspec

from preloader.errors import BundleError
from preloader.events import Event, Prediction
from preloader.telemetry import Slot

EVERYBODY = ""
_SCHEMA = 1
_HOURS = 24
_SPREAD_H = 1.5  # the kernel's standard deviation
_OTHER_DAY = 0.25  # what a session on a weekend says of a working day, and the other way round
_TRUST = 2.0  # a prior weighs as much as so many sessions
_HALF_LIFE_S = 30 * 86_400.0
_LONGEST_GAP = 12.0  # in half-lives: one event with an absurd time must not make all others count for nothing
_TABLES = 64
_KEYS = 128  # in one table
_SESSIONS = 256  # whose keys are remembered, so that each counts once
_ANSWERS = 16

Local = Callable[[float], time.struct_time]
_Weight = Annotated[float, msgspec.Meta(ge=0.0, le=1e300)]
_Bins = dict[Annotated[int, msgspec.Meta(ge=0, lt=2 * _HOURS)], _Weight]


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    """Weights of sessions by the hour in which they began; a session's weight doubles every half-life from the first.

    Attributes:
        first_s: When the table's first session began.
        latest: The latest session's age beyond that, in half-lives: the logarithm of its weight.
        sessions: Weight of the sessions of each hour, working days before weekends.
        keys: For each key the weight of those that used it.
    """

    first_s: float
    latest: Annotated[float, msgspec.Meta(ge=0.0, le=900.0)]
    sessions: _Bins
    keys: dict[str, _Bins]


class _State(msgspec.Struct, forbid_unknown_fields=True):
    schema: int
    tables: dict[str, _Table]


class _Session:
    """A session under way: which hour it counts for, its weight in each table, and what it has used."""

    __slots__ = ("bin", "used", "weights")

    def __init__(self, at: int) -> None:
        self.bin = at
        self.weights: dict[str, float] = {}
        self.used: set[str] = set()


class Habits:
    """Learns from events which keys the sessions of an hour use.

    Args:
        local: Returns the local time of seconds since 1970.
    """

    name = "habits.json"

    def __init__(self, local: Local = time.localtime) -> None:
        self._local = local
        self._tables: OrderedDict[str, _Table] = OrderedDict()
        self._sessions: OrderedDict[Slot, _Session] = OrderedDict()

    def learn(self, event: Event) -> None:
        """Learn from one event; the first of a session says when that began."""
        if not math.isfinite(event.time_s):
            return
        slot = (event.user, event.session)
        session = self._sessions.get(slot)
        if session is None:
            session = self._begin(slot, event.time_s)
        for key in event.resources:
            if key not in session.used and len(session.used) < _KEYS:
                session.used.add(key)
                self._count(session, key)

    def expected(self, time_s: float, user: str | None = None, steps: int = 1) -> list[Prediction]:
        """Return what a session that begins at some time will use, likeliest first; nothing of what was never seen.

        Args:
            time_s: When, in seconds since 1970.
            user: Whose session; anybody's unless given.
            steps: How many steps the predictions have. Which item is when cannot be told: all are 0.
        """
        everybody, own = self._tables.get(EVERYBODY), self._tables.get(user or EVERYBODY)
        if everybody is None or own is None:
            return []
        near = _kernel(self._bin(time_s))
        chances = _chances(everybody, near, {})
        if own is not everybody:
            chances = _chances(own, near, chances)
        likeliest = sorted(chances.items(), key=lambda item: -item[1])[:_ANSWERS]
        return [Prediction(key, (0.0,) * steps, chance, chance) for key, chance in likeliest]

    def dump(self) -> bytes:
        """Return what was learned as JSON."""
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """Yield what `dump` returns table by table, each in some tenths of a millisecond."""
        yield b'{"schema":%d,"tables":{' % _SCHEMA
        for at, (owner, table) in enumerate(list(self._tables.items())):
            yield b"," * (at > 0) + msgspec.json.encode(owner) + b":" + msgspec.json.encode(table)
        yield b"}}"

    def load(self, data: bytes) -> None:
        """Replace what was learned.

        Raises:
            BundleError: ``data`` is damaged or of another version; nothing is replaced.
        """
        try:
            state = msgspec.json.decode(data, type=_State)
        except msgspec.DecodeError as error:
            raise BundleError(f"the habits are damaged: {error}") from error
        if state.schema != _SCHEMA:
            raise BundleError(f"the habits are of schema {state.schema}, and this version reads {_SCHEMA}")
        if len(state.tables) > _TABLES or any(len(table.keys) > _KEYS for table in state.tables.values()):
            raise BundleError(f"the habits are damaged: more than {_TABLES} tables, or more than {_KEYS} keys in one")
        self._tables = OrderedDict(state.tables)
        self._sessions.clear()

    def _begin(self, slot: Slot, time_s: float) -> _Session:
        session = self._sessions[slot] = _Session(self._bin(time_s))
        if len(self._sessions) > _SESSIONS:
            self._sessions.popitem(last=False)
        for owner in {EVERYBODY, slot[0]}:
            table = self._table(owner, time_s)
            age = (time_s - table.first_s) / _HALF_LIFE_S
            table.latest = max(table.latest, min(age, table.latest + _LONGEST_GAP, 900.0))
            weight = 2.0 ** max(0.0, min(age, table.latest))
            session.weights[owner] = weight
            table.sessions[session.bin] = table.sessions.get(session.bin, 0.0) + weight
        return session

    def _count(self, session: _Session, key: str) -> None:
        for owner, weight in session.weights.items():
            table = self._tables.get(owner)
            if table is None:
                continue
            bins = table.keys.setdefault(key, {})
            bins[session.bin] = bins.get(session.bin, 0.0) + weight
            if len(table.keys) > _KEYS:
                del table.keys[min(table.keys, key=lambda key: sum(table.keys[key].values()))]

    def _table(self, owner: str, time_s: float) -> _Table:
        table = self._tables.get(owner)
        if table is None:
            table = self._tables[owner] = _Table(time_s, 0.0, {}, {})
        self._tables.move_to_end(owner)
        if len(self._tables) > _TABLES:
            del self._tables[next(owner for owner in self._tables if owner != EVERYBODY)]
        return table

    def _bin(self, time_s: float) -> int:
        try:
            local = self._local(time_s)
        except (OverflowError, OSError, ValueError):  # a time that no calendar has
            return 0
        return local.tm_hour + _HOURS * (local.tm_wday >= 5)


def _kernel(at: int) -> list[float]:
    """Return how much each hour of a working day and of a weekend has to say about one of them."""
    day, hour = divmod(at, _HOURS)
    weights = []
    for other_day in (0, 1):
        for other in range(_HOURS):
            distance = min((hour - other) % _HOURS, (other - hour) % _HOURS)
            weights.append(math.exp(-0.5 * (distance / _SPREAD_H) ** 2) * (1.0 if other_day == day else _OTHER_DAY))
    return weights


def _chances(table: _Table, near: list[float], prior: dict[str, float]) -> dict[str, float]:
    """Return P(used) of each key: the kernel's mean over sessions, drawn towards what is known before."""
    trust = _TRUST * 2.0**table.latest  # in sessions of today
    sessions = _total(table.sessions.items(), near)
    keys = {key: _total(bins.items(), near) for key, bins in table.keys.items()}
    chances = {key: (uses + trust * prior.get(key, 0.0)) / (sessions + trust) for key, uses in keys.items()}
    unseen = trust / (sessions + trust)
    return {key: unseen * chance for key, chance in prior.items() if key not in keys} | chances


def _total(bins: Iterable[tuple[int, float]], near: list[float]) -> float:
    return sum(weight * near[at] for at, weight in bins)
