"""``preloader evaluate``: how well are the next items of a history predicted?"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from preloader.cli.backends import BackendOption, JobsOption, SchedulerOption, backend_of
from preloader.cli.evaluate_bundle import ScoredBundle
from preloader.cli.evaluate_llm import DEFAULT_TIMEOUT_S, Interview, interview_of
from preloader.cli.evaluate_table import show
from preloader.cli.evaluate_users import Asked, Figures, evaluate_partitions, needs_nobody_else
from preloader.cli.histories import History, partitioned, progress, read_history
from preloader.errors import ConfigurationError, require
from preloader.evaluation import BASELINES, Candidate, Learn, Task, evaluate, task_of_parts, task_of_split
from preloader.evaluation.metrics import CONFIDENCE
from preloader.history import READERS
from preloader.ports import Predictor
from preloader.prediction import OnlinePredictor, load_bundle

_MAX_STEPS = 10
_ONLINE = "online"
_SKLEARN = ("logistic", "boosting")


class RepeatsChoice(StrEnum):
    """Whether an item that repeats the one before counts."""

    KEPT = "kept"
    DROPPED = "dropped"


class LearnChoice(StrEnum):
    """Whether predictors learn during the test."""

    FROZEN = "frozen"
    ONLINE = "online"


def register(app: typer.Typer) -> None:
    """Add ``preloader evaluate`` to the application."""
    app.command(name="evaluate", no_args_is_help=True)(run)


def run(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Files, directories or repositories.")],
    format_name: Annotated[
        str | None, typer.Option("--format", help=f"Their format, if not to be detected: {', '.join(READERS)}.")
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(help="The kind of item to predict, as in tool or skill; the format's first by default."),
    ] = None,
    repeats: Annotated[
        RepeatsChoice, typer.Option(help="Whether an item that repeats the one before it counts.")
    ] = RepeatsChoice.KEPT,
    train: Annotated[
        list[Path] | None,
        typer.Option(help="Learn this history whole and test on all of PATH; otherwise each stream's end is the test."),
    ] = None,
    learn: Annotated[
        LearnChoice | None,
        typer.Option(help="Learn nothing during the test, or every item once scored; both by default."),
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(
            help="Score this saved predictor, and each expert that it mixes, in place of new ones of their names. One "
            "that has no vocabulary learns the fit part first, by counting; its networks stay as they are."
        ),
    ] = None,
    predictor: Annotated[
        list[str] | None,
        typer.Option(
            help="Score this predictor only; repeat for several. All by default, but for logistic and boosting, which "
            "are scikit-learn's and take minutes."
        ),
    ] = None,
    llm_model: Annotated[
        str | None,
        typer.Option(
            help="Ask this language model about each item of the test, and score it as the expert llm, alone and mixed "
            "with the bundle's predictor or the online one. Its key is taken from OPENAI_API_KEY."
        ),
    ] = None,
    llm_url: Annotated[
        str | None,
        typer.Option(
            help="The address of the model's server, which speaks OpenAI's protocol, as in http://localhost:8080/v1; "
            "OpenAI's own by default."
        ),
    ] = None,
    llm_timeout_s: Annotated[
        float, typer.Option(min=0.1, help="How long the model may take to answer a question.")
    ] = DEFAULT_TIMEOUT_S,
    fit_percent: Annotated[
        int | None, typer.Option(min=1, max=99, help="Learn this share of each stream; the format's by default.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, max=_MAX_STEPS, help="How many items ahead to predict.")] = 3,
    seed: Annotated[int, typer.Option(help="Of the shuffle, where the format wants one, and of the intervals.")] = 0,
    bootstraps: Annotated[int, typer.Option(min=1, help="How many resamples the intervals are made of.")] = 1_000,
    backend: BackendOption = None,
    jobs: JobsOption = None,
    scheduler: SchedulerOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")] = False,
) -> None:
    """Score predictors on what came next: the first 80 % of each stream is learned, the rest counts."""
    saved = None if bundle is None else ScoredBundle(load_bundle(bundle))
    interview = interview_of(llm_model, llm_url, llm_timeout_s)
    ways: Sequence[Learn] = ("frozen", "online") if learn is None else (learn.value,)
    asked = Asked(
        names=_chosen(predictor, saved, interview),
        bare=Task("", (), (), drop_repeats=repeats is RepeatsChoice.DROPPED, steps=steps),
        target=target,
        fit_percent=fit_percent,
        seed=seed,
        bootstraps=bootstraps,
        place=backend_of(backend, jobs, scheduler),
    )
    root = None if train else partitioned(paths, format_name)
    if root is not None and saved is not None and ways == ("frozen",) and needs_nobody_else(saved, asked.names):
        figures = evaluate_partitions(root, saved, asked)
    else:
        figures = _evaluate_held(
            read_history(paths, format_name, fit_percent), train, format_name, saved, interview, ways, asked
        )
    document = {
        "data": {
            "paths": [str(path) for path in paths],
            "format": figures.format,
            "target": figures.kind,
            **_plain(figures.summary),
        },
        "protocol": {
            "split": "train" if train else _plain(figures.rule),
            "train": [str(path) for path in train or ()],
            "bundle": None if bundle is None else str(bundle),
            "llm": None if interview is None else interview.summary(),
            "repeats": repeats.value,
            "learn": ways,
            "steps": steps,
            "seed": seed,
            "bootstraps": bootstraps,
            "confidence": CONFIDENCE,
        },
        "rows": figures.rows,
    }
    if as_json:
        print(msgspec.json.encode(document).decode())
    else:
        show(Console(), figures.kind, figures.summary, figures.rows)
        for said in (saved and saved.note(figures.summary.fit_items), interview):
            if said:
                Console(stderr=True).print(str(said), markup=False, highlight=False, soft_wrap=True)


def _evaluate_held(
    history: History,
    train: Sequence[Path] | None,
    format_name: str | None,
    saved: ScoredBundle | None,
    interview: Interview | None,
    ways: Sequence[Learn],
    asked: Asked,
) -> Figures:
    """Score predictors on sessions that are in memory, all users' together."""
    task = _task(history, train, format_name, history.target(asked.target), asked.seed)
    task = msgspec.structs.replace(task, drop_repeats=asked.bare.drop_repeats, steps=asked.bare.steps)
    if saved is not None:
        saved.check(history.paths, task)
    candidates = [_candidate(name, task, saved, interview) for name in asked.names]
    summary = task.summary()
    questions = 0 if interview is None else summary.test_items
    with progress("evaluating", _work(task, candidates, ways) + questions) as advance, interview or nullcontext():
        if interview is not None:
            interview.on_question = advance
        rows = evaluate(
            task,
            candidates,
            ways,
            seed=asked.seed,
            bootstraps=asked.bootstraps,
            on_session=advance,
            divide=None if asked.place is None else asked.place.map,
        )
    return Figures(history.format, task.kind, history.rule, summary, rows)


def _chosen(named: Sequence[str] | None, saved: ScoredBundle | None, interview: Interview | None) -> list[str]:
    of_bundle = saved.names if saved else []
    scored = dict.fromkeys([*BASELINES, _ONLINE, *of_bundle, *(interview.names(saved) if interview else [])])
    known = [*scored, *_SKLEARN]
    for name in named or ():
        if name not in known:
            raise ConfigurationError(f"--predictor {name!r} is not known; choose from: {', '.join(known)}")
    return list(dict.fromkeys(named or scored))


def _candidate(name: str, task: Task, saved: ScoredBundle | None, interview: Interview | None) -> Candidate:
    """Return the predictor of a name; a bundle's stands in for a new one of the same name."""
    if interview is not None and name in interview.names(saved):
        return interview.candidate(name, task, saved)
    if saved is not None and name in saved.names:
        return saved.candidate(name, task.kind)
    if name == _ONLINE:
        return Candidate(name, partial(OnlinePredictor, kinds=(task.kind,), horizon=task.steps))
    if name in _SKLEARN:
        return Candidate(name, partial(_of_sklearn, name, task), fitted=True)
    return Candidate(name, partial(BASELINES[name], kinds=(task.kind,), horizon=task.steps))


def _of_sklearn(name: str, task: Task) -> Predictor:
    require("sklearn", "train")
    from preloader.learning.baselines import sklearn_predictor  # brings in scikit-learn

    return sklearn_predictor(name, task.prepared().fit, task.kind, horizon=task.steps)


def _task(history: History, train: Sequence[Path] | None, format_name: str | None, kind: str, seed: int) -> Task:
    if not train:
        return task_of_split(history.sessions, history.rule, kind, seed)
    learned = read_history(train, format_name)
    shared = {(one.user, one.session) for one in learned.sessions} & {
        (one.user, one.session) for one in history.sessions
    }
    if shared:
        user, session = min(shared)
        raise ConfigurationError(
            f"{len(shared)} sessions, such as {session!r} of {user!r}, are in --train and in the test; keep them apart"
        )
    return task_of_parts(learned.sessions, history.sessions, history.rule, kind, seed)


def _work(task: Task, candidates: Sequence[Candidate], ways: Sequence[Learn]) -> int:
    """Return how many sessions will be learned or scored."""
    return sum((0 if candidate.fitted else len(task.fit)) + len(ways) * len(task.test) for candidate in candidates)


def _plain(struct: msgspec.Struct) -> dict[str, Any]:
    return msgspec.structs.asdict(struct)
