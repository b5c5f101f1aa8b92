"""What every live session is expected to use soon, in one view: what eviction goes by."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from preloader.cache.accuracy import UseRecord
from preloader.events import Event, Prediction

_MAX_SESSIONS = 64


class Outlook:
    """The latest predictions of each session; the longest silent session is forgotten past a bound.

    Args:
        dependencies: Returns what must be ready before a key: it is expected as much as the key is.
        steps: How many items are *soon*: what is stated is corrected by how it turned out within so many.
        kinds: The kinds that predictions are of.
    """

    def __init__(self, dependencies: Callable[[str], Sequence[str]], steps: int, kinds: Collection[str]) -> None:
        self._dependencies = dependencies
        self._record = UseRecord(steps, kinds)
        self._sessions: dict[tuple[str, str], Sequence[Prediction]] = {}
        self._merged: dict[str, Prediction] | None = None

    def seen(self, event: Event) -> None:
        """Note what an event used; call it before what is expected after that event is learned of."""
        for key in event.resources:
            self._record.came((event.user, event.session), key)

    def update(self, session: tuple[str, str], predictions: Sequence[Prediction]) -> None:
        """Replace what a session is expected to use."""
        self._record.stated(session, predictions)
        self._sessions.pop(session, None)
        self._sessions[session] = predictions
        if len(self._sessions) > _MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        self._merged = None

    def forget(self, session: tuple[str, str]) -> None:
        """Drop a session that has ended."""
        self._record.ended(session)
        self._sessions.pop(session, None)
        self._merged = None

    def merged(self) -> Mapping[str, Prediction]:
        """Return the likeliest prediction of each key over all sessions; computed when first asked for."""
        if self._merged is None:
            self._merged = {}
            for stated in self._likeliest():
                p_use_soon = self._record.corrected(stated.key, stated.p_use_soon)
                prediction = Prediction(stated.key, stated.per_step, stated.p_use_if_loaded, p_use_soon)
                for key in (prediction.key, *self._dependencies(prediction.key)):
                    known = self._merged.get(key)
                    if known is None or known.p_use_soon < prediction.p_use_soon:
                        self._merged[key] = prediction
        return self._merged

    def _likeliest(self) -> Iterable[Prediction]:
        """Return of each key what is stated of it by the session that is surest of it.

        A correction keeps the order of what is stated of one key, so that only this one needs to be corrected: sessions
        state thousands of predictions of a few hundred keys.
        """
        likeliest: dict[str, Prediction] = {}
        for predictions in self._sessions.values():
            for stated in predictions:
                known = likeliest.get(stated.key)
                if known is None or known.p_use_soon < stated.p_use_soon:
                    likeliest[stated.key] = stated
        return likeliest.values()
