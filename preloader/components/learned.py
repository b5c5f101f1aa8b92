"""What components really cost, learned from loading them, where it differs from what was declared.

A component that was loaded before is expected to cost what it did: its latest bytes, and the median of its last few
load times, which one slow disk read does not move. One that never was is expected to cost what was declared, times how
far its like have been off: for each sort of loader, the geometric mean of real ÷ declared, older loads counting less.
Where every declaration is exact, nothing changes. What was learned of a component counts as long as its declaration
stays what it was, in a later run, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Annotated

import msgspec

from preloader.errors import BundleError
from preloader.ports import Cost

_SCHEMA = 1
_KEPT = 4_096  # components, the latest loaded
_PIECE = 256  # of them are written at once, in some tenths of a millisecond
_RECENT = 5
_DECAY = 0.8  # weight that older evidence keeps at each load: about the last five count
_PRIOR = 1.0  # loads' worth of belief in the declaration
_MOST = math.log(32.0)  # a ratio beyond this is a slip of units rather than evidence
_CLOCK_S = 5e-6  # timers are due this early or late on the virtual clock: no difference


_Amount = Annotated[float, msgspec.Meta(ge=0.0)]


class _Loads(msgspec.Struct, array_like=True):
    """What loading one component has shown, as long as this is what it is declared to cost."""

    declared_s: _Amount
    declared_bytes: Annotated[int, msgspec.Meta(ge=0)]
    recent_s: Annotated[list[_Amount], msgspec.Meta(max_length=_RECENT)]
    bytes: Annotated[int, msgspec.Meta(ge=0)] | None = None

    def are_of(self, declared: Cost) -> bool:
        return self.declared_s == declared.seconds and self.declared_bytes == declared.bytes


class _Ratio(msgspec.Struct, array_like=True):
    """Real ÷ declared of one sort of loader: a geometric mean that forgets, drawn towards 1 while there is little."""

    log: Annotated[float, msgspec.Meta(ge=-6.0 * _MOST, le=6.0 * _MOST)] = 0.0
    weight: Annotated[float, msgspec.Meta(ge=0.0, le=6.0)] = 0.0

    def add(self, real: float, declared: float) -> None:
        """Learn from one load; what costs nothing, or was said to, tells nothing."""
        if real > 0 and declared > 0:
            self.log = _DECAY * self.log + max(-_MOST, min(_MOST, math.log(real / declared)))
            self.weight = _DECAY * self.weight + 1.0

    @property
    def value(self) -> float:
        """The ratio; exactly 1 where every load cost what was declared."""
        return math.exp(self.log / (_PRIOR + self.weight))


class _Sort(msgspec.Struct, array_like=True):
    """How far one sort of loader has been off, in seconds and in bytes."""

    seconds: _Ratio = msgspec.field(default_factory=_Ratio)
    bytes: _Ratio = msgspec.field(default_factory=_Ratio)


class _State(msgspec.Struct, forbid_unknown_fields=True):
    schema: int
    sorts: Annotated[dict[str, _Sort], msgspec.Meta(max_length=_KEPT)]
    loads: Annotated[dict[str, _Loads], msgspec.Meta(max_length=_KEPT)]


class LearnedCosts:
    """Expected costs of one provider's components. Takes microseconds, and memory linear in the components.

    Args:
        name: The file that they are kept in between runs, in the manager's state directory.
    """

    def __init__(self, name: str = "costs.json") -> None:
        self.name = name
        self._loads: dict[str, _Loads] = {}
        self._sorts: dict[str, _Sort] = {}

    def loaded(self, key: str, sort: str, declared: Cost, seconds: float, measured: int | None) -> None:
        """Learn from a load.

        Args:
            key: What was loaded.
            sort: What sort of loader it has.
            declared: What it was declared to cost.
            seconds: How long it took.
            measured: What it occupies; ``None`` where that could not be told.
        """
        loads = self._loads.pop(key, None)
        if loads is None or not loads.are_of(declared):
            loads = _Loads(declared.seconds, declared.bytes, [])
        self._loads[key] = loads  # the latest last
        ratios = self._sorts.setdefault(sort, _Sort())
        if abs(seconds - declared.seconds) <= _CLOCK_S:
            seconds = declared.seconds
        if seconds > 0 or not declared.seconds:  # else the clock stood still: in replay, real work takes no time
            loads.recent_s = [*loads.recent_s, seconds][-_RECENT:]
            ratios.seconds.add(seconds, declared.seconds)
        if measured is not None:
            loads.bytes = measured
            ratios.bytes.add(measured, declared.bytes)

    def expected(self, key: str, sort: str, declared: Cost) -> Cost:
        """Return what loading is expected to cost now."""
        loads = self._loads.get(key)
        if loads is not None and not loads.are_of(declared):
            loads = None
        ratios = self._sorts.get(sort, _EXACT)
        recent = loads.recent_s if loads is not None else ()
        seconds = _median(recent) if recent else declared.seconds * ratios.seconds.value
        size = loads.bytes if loads is not None else None
        if size is None:
            size = declared.bytes if recent else round(declared.bytes * ratios.bytes.value)
        return Cost(seconds, size)

    def pieces(self) -> Iterator[bytes]:
        """Yield what was learned as JSON, in pieces that take some tenths of a millisecond each."""
        yield b'{"schema":%d,"sorts":%b,"loads":{' % (_SCHEMA, msgspec.json.encode(self._sorts))
        kept = list(self._loads.items())[-_KEPT:]
        for first in range(0, len(kept), _PIECE):
            yield b"," * (first > 0) + msgspec.json.encode(dict(kept[first : first + _PIECE]))[1:-1]
        yield b"}}"

    def load(self, data: bytes) -> None:
        """Replace what was learned.

        Raises:
            BundleError: ``data`` is damaged or of another version; nothing is replaced.
        """
        try:
            state = msgspec.json.decode(data, type=_State)
        except msgspec.DecodeError as error:
            raise BundleError(f"the learned costs are damaged: {error}") from error
        if state.schema != _SCHEMA:
            raise BundleError(f"the learned costs are of schema {state.schema}, and this version reads {_SCHEMA}")
        self._loads, self._sorts = state.loads, state.sorts


_EXACT = _Sort()


def _median(values: Iterable[float]) -> float:
    """Return the median; `statistics` would cost 5 ms of import, and each call here is on the way of a prediction."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
