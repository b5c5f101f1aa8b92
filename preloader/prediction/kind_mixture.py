"""The mixture of one resource kind: how its experts are aligned and blended, and what it awaits of live sessions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from preloader.events import Context
from preloader.ndarray import NDArray
from preloader.prediction.blend import Blend
from preloader.prediction.distribution import Distribution
from preloader.prediction.mixture_settings import MixtureSettings
from preloader.prediction.panel import Aligner, OnUnsound, Panel
from preloader.prediction.pending import Pending
from preloader.prediction.uses import UseStack

Arrays = dict[str, NDArray[np.generic]]
Ask = Callable[[], Sequence[Distribution]]


class KindMixture:
    """Mixes what the experts say of one kind.

    Args:
        experts: How many.
        settings: Bounds, and which parts are on.
        on_unsound: See `Aligner`.
    """

    def __init__(
        self, experts: int, settings: MixtureSettings, on_unsound: OnUnsound = lambda expert, rows: None
    ) -> None:
        self.blend = Blend(experts, settings)
        self.uses = UseStack(experts)
        self._settings = settings
        self._aligner = Aligner(on_unsound)
        self._pending = Pending(experts, settings.horizon, settings.max_sessions)
        self._memo: tuple[object, Panel] | None = None  # an item is learned from what was predicted of it

    def panel(self, context: Context, revision: object, ask: Ask) -> Panel:
        """Return what the experts say after ``context``.

        Args:
            context: The session.
            revision: Changes whenever an expert could say something else.
            ask: Asks the experts.
        """
        memo, known = self._memo, (revision, context)
        if memo is not None and memo[0] == known:
            return memo[1]
        panel = self._aligner.panel(ask(), self._settings.horizon)
        self._memo = (known, panel)
        return panel

    def distribution(self, panel: Panel, user: str, steps: int) -> Distribution:
        """Return what becomes of a panel, calibrated."""
        if panel.is_silent:
            return Distribution({}, np.zeros((steps, 0)))
        return Distribution(panel.alignment.index, self.blend.say(panel, user)[:steps])

    def learn(self, context: Context, panel: Panel, key: str) -> None:
        """Learn that ``key`` was the next item after ``context``, of which ``panel`` was said."""
        slot = (context.user, context.session)
        for said, steps in self._pending.due(slot, panel):
            if not said.is_silent:
                columns = np.full(len(steps), said.alignment.column(key))
                self.blend.learn(said, steps, columns, context.user)
        self.blend.count(context.user)
        self._pending.push(slot, panel)

    def forget_sessions(self) -> None:
        """Forget what is awaited of live sessions."""
        self._pending.clear()

    def dump_sessions(self) -> tuple[dict[str, Any], Arrays]:
        """Return what is awaited of live sessions: what JSON holds, and copies of arrays."""
        return self._pending.dump()

    def load_sessions(self, meta: Any, arrays: Arrays) -> None:
        """Fill a new mixture with what `dump_sessions` returned.

        Raises:
            KeyError, ValueError: It is damaged.
        """
        self._pending.load(meta, arrays)
