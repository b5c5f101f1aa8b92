"""What is measured: which items, after learning from what."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from preloader.errors import HistoryError
from preloader.evaluation.cases import items_of, without_repeats
from preloader.events import kind_of
from preloader.history import Session, SplitRule, order_sessions, split_sessions
from preloader.history.annotations import without_annotations


class Task(msgspec.Struct, frozen=True):
    """What is measured.

    Attributes:
        kind: The resource kind whose items are predicted.
        fit: The sessions to learn from first.
        test: The sessions whose items count.
        drop_repeats: Whether an item that repeats the one before is removed, and so never a candidate.
        steps: How many items ahead to predict.
    """

    kind: str
    fit: Sequence[Session]
    test: Sequence[Session]
    drop_repeats: bool = False
    steps: int = 3

    def prepared(self) -> Task:
        """Return the task as predictors see it: no annotations of other kinds, and no repeats to be dropped."""
        fit, test = ([self._seen(session) for session in part] for part in (self.fit, self.test))
        return msgspec.structs.replace(self, fit=fit, test=test)

    def summary(self) -> TaskSummary:
        """Count what there is to learn from and to predict, repeats as the task has them."""
        learned, asked = (
            [items_of(self._seen(session), self.kind) for session in part] for part in (self.fit, self.test)
        )
        vocabulary = {key for items in learned for key in items}
        asked_items = sum(map(len, asked))
        unseen = sum(key not in vocabulary for items in asked for key in items)
        return TaskSummary(
            fit_sessions=len(self.fit),
            test_sessions=len(self.test),
            fit_items=sum(map(len, learned)),
            test_items=asked_items,
            vocabulary=len(vocabulary),
            unseen_share=unseen / asked_items if asked_items else 0.0,
        )

    def _seen(self, session: Session) -> Session:
        seen = without_annotations(session, self.kind)
        return without_repeats(seen, self.kind) if self.drop_repeats else seen


class TaskSummary(msgspec.Struct, frozen=True):
    """How much there is: sessions, items, distinct items to learn from, and the share of test items not among them."""

    fit_sessions: int
    test_sessions: int
    fit_items: int
    test_items: int
    vocabulary: int
    unseen_share: float


def task_of_split(sessions: Sequence[Session], rule: SplitRule, kind: str, seed: int = 0) -> Task:
    """Cut one history: each stream's fit part is learned, only the rest counts.

    Sessions without an item of the kind are left out before the cut, so that it leaves the same share of *items* to
    the test whatever the kind.

    Raises:
        HistoryError: No session has an item of the kind, or no stream has enough sessions to be cut.
    """
    task = cut(sessions, rule, kind, seed)
    if task.fit and task.test:
        return task
    holding = sum(_holds(session, kind) for session in sessions)
    if not holding:
        raise HistoryError(f"no event of the history uses a resource of the kind {kind!r}; it has {_kinds(sessions)}")
    raise HistoryError(
        f"the history has too few sessions with items of the kind {kind!r} to be split, {holding}: a stream "
        f"of at least {max(rule.min_sessions, 2)} is needed, or another history to learn from (--train)"
    )


def cut(sessions: Sequence[Session], rule: SplitRule, kind: str, seed: int = 0) -> Task:
    """Cut a history as `task_of_split` does; where there is too little to be cut, parts are empty."""
    holding = [session for session in sessions if _holds(session, kind)]
    return Task(kind, *split_sessions(holding, rule, seed))


def task_of_parts(fit: Sequence[Session], test: Sequence[Session], rule: SplitRule, kind: str, seed: int = 0) -> Task:
    """Learn one history whole, and count all of another.

    Raises:
        HistoryError: Either has no item of the kind.
    """
    for part, sessions in (("history to learn from", fit), ("history to test on", test)):
        if not any(_holds(session, kind) for session in sessions):
            raise HistoryError(
                f"no event of the {part} uses a resource of the kind {kind!r}; it has {_kinds(sessions)}"
            )
    return Task(kind, order_sessions(fit, rule, seed), order_sessions(test, rule, seed))


def _holds(session: Session, kind: str) -> bool:
    return any(event.keys(kind) for event in session.events)


def _kinds(sessions: Sequence[Session]) -> str:
    found = {kind_of(key): None for session in sessions for event in session.events for key in event.resources}
    return ", ".join(found) or "none of any kind"
