"""One point of a history, and what is expected there: what ``preloader explain`` shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from preloader.cli.histories import progress
from preloader.decision import make_policy
from preloader.errors import ConfigurationError
from preloader.events import CONTEXT_EVENTS, Context, Decision, Prediction, kind_of
from preloader.history import Session
from preloader.ports import Budget, Cost, Predictor
from preloader.prediction import Explanation, OnlinePredictor, explain

_NAMED = 5  # users or sessions that a message lists


class Point(msgspec.Struct, frozen=True):
    """One point of a history.

    Attributes:
        user: Whose session it is in.
        session: The session.
        after: How many of its events have happened.
        now_s: When its next event begins, or, at its end, when the last one ended: what was later is not known.
        context: What is known of the session.
        came: The items that did come next, as far as the history goes.
    """

    user: str
    session: str
    after: int
    now_s: float
    context: Context
    came: list[str]


class Expected(msgspec.Struct, frozen=True):
    """A prediction, and what the thresholds policy makes of it: ``None`` where it is not worth a word."""

    prediction: Prediction
    decision: Decision | None


class Why(msgspec.Struct, frozen=True):
    """The evidence for a key, and for the likeliest other one: what they share decides nothing."""

    explanation: Explanation
    rival: Explanation | None


def chosen_session(sessions: Sequence[Session], user: str | None, name: str | None) -> Session:
    """Return the latest session that the options admit.

    Raises:
        ConfigurationError: There is none, or several users have one of that name.
    """
    of_user = [one for one in sessions if user in (None, one.user)]
    if not of_user:
        raise ConfigurationError(f"--user {user!r} is not in the history; it has {_some(one.user for one in sessions)}")
    found = [one for one in of_user if name in (None, one.session)]
    if not found:
        raise ConfigurationError(
            f"--session {name!r} is not in the history; it has {_some(one.session for one in of_user)}"
        )
    users = list(dict.fromkeys(one.user for one in found))
    if name is not None and len(users) > 1:
        raise ConfigurationError(f"{len(users)} users have a session {name!r}; name one with --user: {_some(users)}")
    return max(found, key=lambda one: one.start_s)


def point_in(session: Session, at: int | None, kind: str) -> Point:
    """Return the point after ``at`` events of a session, or after all of them.

    Raises:
        ConfigurationError: The session has fewer events.
    """
    after = len(session.events) if at is None else at
    if after > len(session.events):
        raise ConfigurationError(
            f"--at {after} is past the end of {session.session!r}, which has {len(session.events)} events"
        )
    happened, coming = session.events[:after], session.events[after:]
    last = session.events[-1]
    now_s = coming[0].time_s if coming else last.time_s + (last.duration_s or 0.0)
    recent = tuple(event.known_at(now_s) for event in happened[-CONTEXT_EVENTS:])
    return Point(
        user=session.user,
        session=session.session,
        after=after,
        now_s=now_s,
        context=Context(session.user, session.session, recent),
        came=[key for event in coming for key in event.keys(kind)],
    )


def learned_before(sessions: Sequence[Session], point: Point, kind: str) -> OnlinePredictor:
    """Return a predictor that has seen what happened before a point, session by session, the point's own last."""
    here = (point.user, point.session)
    predictor = OnlinePredictor(kinds=(kind,))
    with progress("learning", total=len(sessions)) as advance:
        for one in sorted(sessions, key=lambda one: ((one.user, one.session) == here, one.start_s)):
            is_here = (one.user, one.session) == here
            for event in one.events[: point.after] if is_here else one.events:
                if is_here or event.time_s < point.now_s:
                    predictor.learn_one(event.known_at(point.now_s))
            advance("learning")
    return predictor


def expected_at(predictor: Predictor, context: Context, kind: str) -> list[Expected]:
    """Return the predictions of a kind, and how they are decided when nothing is ready and there is room for all."""
    predictions = [one for one in predictor.predict(context) if kind_of(one.key) == kind]
    room = Budget(capacity_bytes=1, free_bytes=1, cost=lambda key: Cost(0.0, 0))
    decisions = {one.key: one for one in make_policy("thresholds").decide(predictions, (), room)}
    return [Expected(one, decisions.get(one.key)) for one in predictions]


def why(predictor: Predictor, context: Context, key: str, expected: Sequence[Expected]) -> Why:
    """Return the evidence for and against a key, beside that of the likeliest other one.

    Raises:
        ConfigurationError: The predictor cannot say.
    """
    if not isinstance(predictor, OnlinePredictor):
        raise ConfigurationError(f"--key {key!r}: the predictor {predictor.name!r} cannot say why; only 'online' can")
    rival = next((one.prediction.key for one in expected if one.prediction.key != key), None)
    return Why(explain(predictor, context, key), None if rival is None else explain(predictor, context, rival))


def _some(names: Iterable[str]) -> str:
    distinct = list(dict.fromkeys(names))
    more = f" and {len(distinct) - _NAMED:,} more" if len(distinct) > _NAMED else ""
    return ", ".join(distinct[:_NAMED]) + more
