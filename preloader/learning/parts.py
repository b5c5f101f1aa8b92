"""Which sessions are learned from, and which only choose: what is held out to validate, calibrate and weigh experts."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from preloader.errors import HistoryError
from preloader.evaluation import task_of_split
from preloader.evaluation.cases import items_of, without_repeats
from preloader.history import Session, SplitRule, order_sessions, split_sessions
from preloader.history.annotations import without_annotations
from preloader.learning.recipe import Recipe
from preloader.prediction.manifest import MAX_SESSIONS


class Parts(msgspec.Struct, frozen=True):
    """What may be learned from, cut in two.

    Attributes:
        fit: Learned from first.
        validation: Held out meanwhile: the end of each stream, or an official part.
        whole: Both, in the order of the history's rule; without an official part, which is never fitted.
    """

    fit: list[Session]
    validation: list[Session]
    whole: list[Session]


def parts_of(sessions: Sequence[Session], rule: SplitRule, recipe: Recipe, seed: int = 0) -> Parts:
    """Return the sessions of a history that may be learned from: none that is a test for any of the kinds.

    Args:
        sessions: The whole history.
        rule: How its format is split.
        recipe: What is to be trained.
        seed: Of the shuffle, where the rule wants one.

    Raises:
        HistoryError: The history is too small.
    """
    fit: dict[tuple[str, str], Session] = {}
    test: set[tuple[str, str]] = set()
    for kind in recipe.data.kinds:
        task = task_of_split(sessions, rule, kind, seed)
        fit.update({_name(one): one for one in task.fit})
        test.update(map(_name, task.test))
    ordered = order_sessions((one for name, one in fit.items() if name not in test), rule, seed)
    whole = [seen(one, recipe) for one in ordered]
    check_size(whole, recipe)
    fit_part, validation = _cut(whole, rule, recipe.validation.share, seed)
    return Parts(fit_part, validation, whole)


def parts_given(
    fit: Sequence[Session], validation: Sequence[Session], rule: SplitRule, recipe: Recipe, seed: int = 0
) -> Parts:
    """Return a history and an official part of it to validate on, as what is learned from.

    Raises:
        HistoryError: The history is too small, or a session is on both sides.
    """
    whole = [seen(one, recipe) for one in order_sessions(fit, rule, seed)]
    held = [seen(one, recipe) for one in order_sessions(validation, rule, seed)]
    check_size(whole, recipe)
    _check_count(len(whole) + len(held))
    check_apart(whole, held, "to learn from", "to validate on")
    return Parts(whole, held, whole)


def check_apart(one: Sequence[Session], other: Sequence[Session], here: str, there: str) -> None:
    """Check that no session is on both sides.

    Raises:
        HistoryError: One is.
    """
    shared = sorted(set(map(_name, one)) & set(map(_name, other)))
    if shared:
        user, session = shared[0]
        raise HistoryError(
            f"{len(shared)} sessions are both {here} and {there}, the first is {session!r} of user {user!r}: "
            "give histories that have no session in common"
        )


def _name(session: Session) -> tuple[str, str]:
    return session.user, session.session


def seen(session: Session, recipe: Recipe) -> Session:
    """Return a session as a recipe's models see it."""
    kind = recipe.data.kinds[0]
    bare = without_annotations(session, kind)
    return without_repeats(bare, kind) if recipe.data.repeats == "dropped" else bare


def _cut(sessions: Sequence[Session], rule: SplitRule, share: float, seed: int) -> tuple[list[Session], list[Session]]:
    """Hold out the end of each stream; a stream too small to be cut is learned whole."""
    finer = msgspec.structs.replace(rule, fit_percent=max(1, round(100 * (1.0 - share))), min_sessions=2)
    _, held = split_sessions(sessions, finer, seed)
    names = set(map(_name, held))
    fit = [one for one in sessions if _name(one) not in names]
    if not fit or not held:
        raise HistoryError(
            f"the history leaves no sessions to validate on: {len(sessions)} sessions cannot be cut at "
            f"{share:.0%} from the end of each stream"
        )
    return fit, held


def count_items(sessions: Sequence[Session], recipe: Recipe) -> dict[str, int]:
    """Return how many items of each kind of a recipe there are."""
    return {kind: sum(len(items_of(session, kind)) for session in sessions) for kind in recipe.data.kinds}


def _check_count(sessions: int) -> None:
    if sessions > MAX_SESSIONS:
        raise HistoryError(
            f"the history leaves {sessions:,} sessions to learn from, and a bundle can name {MAX_SESSIONS:,}: "
            "give fewer users, or a shorter history"
        )


def check_size(sessions: Sequence[Session], recipe: Recipe) -> None:
    """Check that there is enough to learn from, and no more than a bundle can name.

    Raises:
        HistoryError: There is not, or there is more.
    """
    data = recipe.data
    _check_count(len(sessions))
    if len(sessions) < max(data.min_sessions, 2):
        raise HistoryError(
            f"the history leaves {len(sessions)} sessions to learn from, and recipe {recipe.name!r} needs at least "
            f"{max(data.min_sessions, 2)}"
        )
    for kind, count in count_items(sessions, recipe).items():
        if count < data.min_items:
            raise HistoryError(
                f"the history leaves {count} items of the kind {kind!r} to learn from, and recipe {recipe.name!r} "
                f"needs at least {data.min_items}"
            )
