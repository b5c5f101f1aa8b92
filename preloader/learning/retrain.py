"""Retraining: learns anew from all but the newest sessions, and promotes what it made only if it is better on those.

The one thing that is ever changed is the directory of the bundle in service, and that by renaming. Beside it stand a
lock, the previous bundle, a journal with one line for each run, and a report of the latest for people.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from preloader.errors import BundleError, ConfigurationError, PreloaderError
from preloader.evaluation import BASELINES, Learn
from preloader.evaluation.cases import items_of
from preloader.history import Session, SplitRule, order_sessions
from preloader.learning.catch_up import catch_up
from preloader.learning.comparison import Compared, MakePredictor, compare, held_out
from preloader.learning.fit import BESIDE, fit, learn
from preloader.learning.fitted_bundle import save_fitted
from preloader.learning.joblock import job_lock
from preloader.learning.parts import Parts, check_size, seen
from preloader.learning.promotion import promote, settle
from preloader.learning.recipe import Recipe
from preloader.ports import Predictor
from preloader.prediction import Bundle, load_bundle
from preloader.prediction.bundle_files import recovered
from preloader.prediction.manifest import session_hash

Verdict = Literal["promoted", "kept", "nothing new"]
Share = Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)]
OnStep = Callable[[str], None]


class RetrainSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a candidate is judged.

    Attributes:
        newest: How much of the sessions, the newest, is only tested on.
        min_sessions: A verdict for the candidate takes so many of them with items of a kind: on one or two sessions
            an interval over sessions is too narrow, or none at all.
        min_items: And so many items of it.
        learn: Whether both learn while they are tested, as they do in service.
        bootstraps: How many resamples the intervals are made of.
        seed: Of them.
    """

    newest: Share = 0.1
    min_sessions: Annotated[int, msgspec.Meta(ge=2)] = 20
    min_items: Annotated[int, msgspec.Meta(ge=1)] = 100
    learn: Learn = "online"
    bootstraps: Annotated[int, msgspec.Meta(ge=1)] = 1_000
    seed: int = 0


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What one run did: a line of the journal.

    Attributes:
        time_s: When it ended, in seconds since 1970.
        verdict: Whether the candidate was promoted, or the bundle in service kept, or there was nothing new to learn.
        reason: Why, in words.
        bundle: Where the bundle in service is.
        recipe: The recipe's name.
        against: What the candidate was compared with: ``in service``, or a baseline where nothing was.
        learned: How many sessions the candidate learned before it was tested; it learns the others if it is promoted.
        newest: How many it was tested on.
        compared: The figures, by kind.
        command: The command that was run.
    """

    time_s: float
    verdict: Verdict
    reason: str
    bundle: str
    recipe: str
    against: str = ""
    learned: int = 0
    newest: int = 0
    compared: list[Compared] = []
    command: str = ""


def retrain(
    sessions: Sequence[Session],
    recipe: Recipe,
    service: Path,
    settings: RetrainSettings | None = None,
    *,
    now_s: float,
    command: str = "",
    on_step: OnStep = lambda label: None,
) -> Entry:
    """Retrain, compare, promote or not, and write down what was done.

    Args:
        sessions: Everything that happened so far.
        recipe: What is trained.
        service: The directory of the bundle in service; where there is none, the candidate must beat `BESIDE`.
        settings: How the candidate is judged.
        now_s: The time, for the journal.
        command: What was run, for manifest, card and journal.
        on_step: Called with a label after each step.

    Raises:
        BusyError: Another run is at work on this bundle.
        HistoryError: There are too few sessions.
        ConfigurationError: The bundle in service learned from one of the newest sessions, or does not say from which.
        BundleError: The bundle in service is damaged, or cannot be replaced.
    """
    settings = settings or RetrainSettings()
    lock = service.with_name(f".{service.name}.retrain.lock")
    made = [folder for folder in (service.parent, *service.parent.parents) if not folder.exists()]
    try:
        service.parent.mkdir(parents=True, exist_ok=True)
        with job_lock(lock), _without_trace(service, lock, made):
            settle(service)
            shutil.rmtree(_workplace(service), ignore_errors=True)  # of a run that was killed
            entry = _run(sessions, recipe, service, settings, now_s, command, on_step)
            _write_journal(journal_of(service), entry)
    except OSError as error:
        raise BundleError(f"{error.filename or service} cannot be written: {error.strerror or error}") from error
    return entry


def journal_of(service: Path) -> Path:
    """Return the journal of a bundle: one JSON line for each run."""
    return service.with_name(f"{service.name}.retrain.jsonl")


@contextmanager
def _without_trace(service: Path, lock: Path, made: Sequence[Path]) -> Iterator[None]:
    """Remove lock and folders of a run that is refused before there ever was a bundle or a verdict."""
    try:
        yield
    except PreloaderError:
        if not recovered(service).exists() and not journal_of(service).exists():
            lock.unlink(missing_ok=True)
            for folder in made:  # the innermost first
                with suppress(OSError):  # somebody else has put something there
                    folder.rmdir()
        raise


def _workplace(service: Path) -> Path:
    return service.with_name(f".{service.name}.retraining")


def _run(
    sessions: Sequence[Session],
    recipe: Recipe,
    service: Path,
    settings: RetrainSettings,
    now_s: float,
    command: str,
    on_step: OnStep,
) -> Entry:
    older, newest = _cut([seen(one, recipe) for one in order_sessions(sessions, SplitRule())], recipe, settings)
    bundle = load_bundle(service) if recovered(service).exists() else None
    new = True
    if bundle is not None:
        known = _known(bundle, recipe)
        new = any(_hash(one) not in known for one in older)
        older, newest = _apart(bundle, older, newest, known) if new else (older, newest)
    told = partial(
        Entry,
        time_s=now_s,
        bundle=str(service),
        recipe=recipe.name,
        learned=len(older),
        newest=len(newest),
        command=command,
    )
    if bundle is not None and not new:
        return told(verdict="nothing new", reason="the bundle in service has learned all the older sessions")
    if few := _too_few(newest, recipe, settings):
        return told(verdict="kept", reason=few)
    workplace = _workplace(service)
    candidate = workplace / "candidate"
    try:
        made = _train(older, recipe, candidate, command, on_step)
        against = BESIDE if bundle is None else "in service"
        compared = _compare(made, bundle, older, newest, recipe, settings, on_step)
        promoted, reason = _judge(compared, against, settings)
        if promoted:
            catch_up(candidate, newest, workplace / "promoted")
            promote(workplace / "promoted", service)
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
    verdict: Verdict = "promoted" if promoted else "kept"
    return told(verdict=verdict, reason=reason, against=against, compared=compared)


def _cut(sessions: Sequence[Session], recipe: Recipe, settings: RetrainSettings) -> tuple[list[Session], list[Session]]:
    """Return the sessions to learn from and the newest ones, by when they began."""
    count = max(1, round(len(sessions) * settings.newest))
    older, newest = list(sessions[:-count]), list(sessions[-count:])
    check_size(older, recipe)
    return older, newest


def _known(bundle: Bundle, recipe: Recipe) -> frozenset[str]:
    """Return the hashes of what the bundle in service learned; refuse one that no recipe can be compared with."""
    manifest = bundle.manifest
    if manifest.fitted_on is None:
        raise ConfigurationError(f"{bundle.path} does not say what it learned from, so no test of it would be fair")
    if manifest.kinds is not None and not set(recipe.data.kinds) <= set(manifest.kinds):
        raise ConfigurationError(
            f"{bundle.path} predicts {', '.join(manifest.kinds)}, and recipe {recipe.name!r} is for "
            f"{', '.join(recipe.data.kinds)}"
        )
    return frozenset(manifest.fitted_on.sessions)


def _apart(
    bundle: Bundle, older: Sequence[Session], newest: Sequence[Session], known: frozenset[str]
) -> tuple[list[Session], list[Session]]:
    """Move those of the newest sessions that the bundle in service has learned to those that the candidate learns."""
    tested = [one for one in newest if _hash(one) not in known]
    if not tested:
        raise ConfigurationError(
            f"{bundle.path} learned from {len(newest):,} of the {len(newest):,} newest sessions: wait for new ones"
        )
    return [*older, *(one for one in newest if _hash(one) in known)], tested


def _hash(session: Session) -> str:
    return session_hash(session.user, session.session)


def _train(older: list[Session], recipe: Recipe, candidate: Path, command: str, on_step: OnStep) -> Bundle:
    """Fit a recipe to sessions, and write it as a bundle."""
    cut = min(len(older) - 1, round(len(older) * (1.0 - recipe.validation.share)))
    fitted = fit(Parts(older[:cut], older[cut:], older), recipe, on_step=on_step)
    save_fitted(candidate, fitted, recipe, command)
    return load_bundle(candidate)


def _compare(
    made: Bundle,
    bundle: Bundle | None,
    older: Sequence[Session],
    newest: Sequence[Session],
    recipe: Recipe,
    settings: RetrainSettings,
    on_step: OnStep,
) -> list[Compared]:
    drops = recipe.data.repeats == "dropped"
    found = []
    for kind in recipe.data.kinds:
        other: MakePredictor = partial(_baseline if bundle is None else partial(_served, bundle), kind, older)
        task = held_out(newest, kind, drop_repeats=drops)
        found.append(
            compare(
                made.predictor,
                other,
                task,
                settings.learn,
                bootstraps=settings.bootstraps,
                seed=settings.seed,
                on_session=partial(on_step, f"comparing {kind}"),
            )
        )
    return [one for one in found if one is not None]


def _served(bundle: Bundle, kind: str, older: Sequence[Session]) -> Predictor:
    """Return the predictor in service; one without a vocabulary counts what it has not learned first.

    It knows no key before it has met it, as `preloader evaluate` has it: beside a candidate that has met all of them,
    a bundle that has met none would be bound to lose.
    """
    if bundle.manifest.kinds is not None:
        return bundle.predictor()
    predictor = bundle.predictor(kinds=(kind,))
    known = frozenset(bundle.manifest.fitted_on.sessions if bundle.manifest.fitted_on else ())
    learn(predictor, [one for one in older if _hash(one) not in known])
    return predictor


def _baseline(kind: str, older: Sequence[Session]) -> Predictor:
    predictor = BASELINES[BESIDE](kinds=(kind,))
    learn(predictor, older)
    return predictor


def _too_few(newest: Sequence[Session], recipe: Recipe, settings: RetrainSettings) -> str:
    """Return why no verdict can be had of the newest sessions; nothing where one can for a kind at least."""
    found = []
    for kind in recipe.data.kinds:
        counts = [count for one in newest if (count := len(items_of(one, kind)))]
        if len(counts) >= settings.min_sessions and sum(counts) >= settings.min_items:
            return ""
        found.append(
            f"{len(counts):,} new session{'s' * (len(counts) != 1)} with {sum(counts):,} items of the kind {kind!r}"
        )
    return (
        f"the test would have only {' and '.join(found)}, and a verdict takes {settings.min_sessions:,} sessions with "
        f"{settings.min_items:,} items"
    )


def _judge(compared: Sequence[Compared], against: str, settings: RetrainSettings) -> tuple[bool, str]:
    """Return whether to promote, and why: better at something by more than chance, and worse at nothing."""
    enough = [one for one in compared if one.sessions >= settings.min_sessions and one.items >= settings.min_items]
    worse = [one.kind for one in compared if one.worse]
    better = [one.kind for one in enough if one.better]
    if worse:
        return False, f"the candidate is worse than {against} at {', '.join(worse)}, by more than chance"
    if better:
        return True, f"the candidate is better than {against} at {', '.join(better)}, and worse at nothing"
    return False, f"the candidate is not better than {against} by more than chance"


def _write_journal(path: Path, entry: Entry) -> None:
    """Append one line, in one write, and have it on the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(descriptor, msgspec.json.encode(entry) + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
