"""How often what was said to be used soon was used soon, key by key: what eviction may believe of a prediction."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Sequence

from preloader.events import Prediction, kind_of
from preloader.logodds import LogOddsShifts
from preloader.telemetry import Slot

_WINDOWS = 256  # sessions and kinds that are watched at once; the oldest is given up past this
_NOTED = 32  # predictions that a window holds; the likeliest come first


class _Window:
    """What was stated before the next few items of one session and kind."""

    __slots__ = ("items_left", "stated")

    def __init__(self, items: int) -> None:
        self.items_left = items
        self.stated: dict[str, float] = {}


class UseRecord:
    """Corrects P(used within the next `steps` items of its kind) by each key's own past.

    Every so many items of a session its predictions are noted; those whose key has come by the end of the window were
    right. One shift of log-odds a key follows (`preloader.logodds`). A window that its session cuts short says nothing:
    counted as not used, the last words of sessions would speak against what the next ones begin with.

    It fails where it must: a key's first dozens of windows tell little, since the prior weighs as much as sixty-four
    even odds; a habit that changes is followed over about a hundred windows; a predictor that overstates a key in one
    situation and understates it in another is corrected by the mean of both; what no prediction names stays at zero.

    Args:
        steps: How many items are *soon*.
        kinds: The kinds that predictions are of, where that is known: it saves looking at each while all are watched.
    """

    def __init__(self, steps: int, kinds: Collection[str] = ()) -> None:
        self._steps = steps
        self._kinds = kinds
        self._shifts = LogOddsShifts(alike=16.0, fading=0.99, keys=4_096)
        self._windows: OrderedDict[tuple[Slot, str], _Window] = OrderedDict()

    def corrected(self, key: str, p_use_soon: float) -> float:
        """Return P(used soon) of a key, given what is stated."""
        return self._shifts.shifted(key, p_use_soon)

    def stated(self, slot: Slot, predictions: Sequence[Prediction]) -> None:
        """Note what is stated of a session, where nothing is being watched of it."""
        if self._kinds and all((slot, kind) in self._windows for kind in self._kinds):
            return
        if predictions and len(self._kinds) == 1:  # mostly: all are of this one
            (kind,) = self._kinds
            window = self._windows[slot, kind] = _Window(self._steps)
            window.stated = {prediction.key: prediction.p_use_soon for prediction in predictions[:_NOTED]}
            self._bound()
            return
        opened: dict[str, dict[str, float] | None] = {}
        prefix, stated = "", None
        for prediction in predictions[: 2 * _NOTED]:
            key = prediction.key
            if not prefix or not key.startswith(prefix):  # nearly always it is of the kind of the one before
                kind = kind_of(key)
                prefix = f"{kind}:"
                if kind not in opened:
                    opened[kind] = self._open(slot, kind)
                stated = opened[kind]
            if stated is not None and len(stated) < _NOTED:
                stated[key] = prediction.p_use_soon
        self._bound()

    def came(self, slot: Slot, key: str) -> None:
        """Note that a session used a key."""
        at = slot, kind_of(key)
        window = self._windows.get(at)
        if window is None:
            return
        if (stated := window.stated.pop(key, None)) is not None:
            self._shifts.learn(key, stated, came=True)
        window.items_left -= 1
        if not window.items_left:
            self._shifts.learn_all(self._windows.pop(at).stated, came=False)

    def _bound(self) -> None:
        while len(self._windows) > _WINDOWS:
            self._windows.popitem(last=False)

    def _open(self, slot: Slot, kind: str) -> dict[str, float] | None:
        """Return where to note what is stated of a kind; ``None`` where it is being watched already."""
        if (slot, kind) in self._windows:
            return None
        window = self._windows[slot, kind] = _Window(self._steps)
        return window.stated

    def ended(self, slot: Slot) -> None:
        """Forget what was stated of a session that is over."""
        for at in [at for at in self._windows if at[0] == slot]:
            del self._windows[at]
