"""``preloader explain``: what is expected at one point of a history, and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from preloader.cli.explain_table import show
from preloader.cli.explained import Expected, Point, Why, chosen_session, expected_at, learned_before, point_in, why
from preloader.cli.histories import read_history
from preloader.events import Decision, resource_key
from preloader.history import READERS
from preloader.history.annotations import without_annotations
from preloader.prediction import load_bundle

_CAME = 3  # how many of the items that did come are told


def register(app: typer.Typer) -> None:
    """Add ``preloader explain`` to the application."""
    app.command(name="explain", no_args_is_help=True)(run)


def run(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help="Files, directories or repositories.")],
    format_name: Annotated[
        str | None, typer.Option("--format", help=f"Their format, if not to be detected: {', '.join(READERS)}.")
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(help="The kind of item to predict, as in tool or skill; the format's first by default."),
    ] = None,
    user: Annotated[str | None, typer.Option(help="Whose session; anybody's by default.")] = None,
    session: Annotated[str | None, typer.Option(help="Which session; the latest by default.")] = None,
    at: Annotated[
        int | None, typer.Option("--at", min=0, help="After how many of its events; after all of them by default.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Say why this is expected, as in Bash or tool:Bash.")] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Ask this saved predictor instead of one that learns PATH.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many predictions to show.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")] = False,
) -> None:
    """Learn a history up to a point, and say what is expected next, why, and what would be preloaded."""
    history = read_history(paths, format_name)
    kind = history.target(target)
    sessions = [seen for one in history.sessions if (seen := without_annotations(one, kind)).events]
    point = point_in(chosen_session(sessions, user, session), at, kind)
    predictor = learned_before(sessions, point, kind) if bundle is None else load_bundle(bundle).predictor()
    expected = expected_at(predictor, point.context, kind)
    if key is not None and not key.startswith(kind + ":"):
        key = resource_key(kind, key)
    evidence = None if key is None else why(predictor, point.context, key, expected)
    if as_json:
        print(msgspec.json.encode(_document(history.format, kind, point, expected[:top], evidence)).decode())
    else:
        show(Console(), point, expected[:top], evidence)


def _document(
    format_name: str, kind: str, point: Point, expected: Sequence[Expected], evidence: Why | None
) -> dict[str, Any]:
    return {
        "data": {"format": format_name, "target": kind},
        "point": {
            "user": point.user,
            "session": point.session,
            "after": point.after,
            "latest": point.context.recent[-1:],
            "came": point.came[:_CAME],
        },
        "predictions": [
            {**msgspec.structs.asdict(one.prediction), "decision": one.decision and _decided(one.decision)}
            for one in expected
        ],
        "explanation": evidence and evidence.explanation,
        "rival": evidence and evidence.rival,
    }


def _decided(decision: Decision) -> dict[str, Any]:
    return {
        "tier": None if decision.tier is None else decision.tier.name.lower(),
        "probability": decision.probability,
        "steps": decision.steps,
        "reason": decision.reason,
    }
