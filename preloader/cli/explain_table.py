"""What ``preloader explain`` prints for people: what is expected, what would be done, and the evidence for one key."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from preloader.cli.explained import Expected, Point, Why
from preloader.prediction import Explanation

_REASONS = 12
_NOTHING = 0.005  # evidence that rounds to nothing
_NONE = (0.0, "")
_WORDS = "the words'"
_CAPTION = "Log-odds that each piece of evidence adds to the two; what adds the same to both is left out."
_LONGEST = 60
_CAME = 3
_TOLD = 5  # events of the context that are shown


def show(console: Console, point: Point, expected: Sequence[Expected], evidence: Why | None) -> None:
    """Print the point, the predictions with their decisions, and the evidence for a key if it was asked for."""
    console.print(_where(point))
    if not expected:
        console.print("Nothing is expected: no item of this kind was ever learned.")
    else:
        console.print(_predictions(point, expected))
    if evidence is not None:
        _show_evidence(console, evidence)


def _where(point: Point) -> Text:
    session = f" of session {_short(point.session)} of {_short(point.user)}"
    where = Text.assemble("After ", (_events(point.after), "bold"), session)
    for event in point.context.recent[-_TOLD:]:
        used = f"  {', '.join(map(_short, event.resources))}" if event.resources else ""
        said = f"  “{_short(event.text)}”" if event.text else ""
        where.append(f"\n  {_short(event.action)}{used}{said}", style="dim")
    came = ", ".join(map(_short, point.came[:_CAME])) or "nothing; the history ends here"
    return where.append(f"\nWhat did come: {came}")


def _events(count: int) -> str:
    return f"{count:,} event{'' if count == 1 else 's'}"


def _predictions(point: Point, expected: Sequence[Expected]) -> Table:
    table = Table(box=SIMPLE, padding=0, pad_edge=False)
    table.add_column("expected")
    for step in range(1, len(expected[0].prediction.per_step) + 1):
        table.add_column(f"step {step}", justify="right")
    table.add_column("if loaded", justify="right")
    table.add_column("decision")
    for one in expected:
        prediction = one.prediction
        came = prediction.key in point.came[:1]
        table.add_row(
            Text(_short(prediction.key), style="bold green" if came else ""),
            *(f"{probability:.1%}" for probability in prediction.per_step),
            f"{prediction.p_use_if_loaded:.1%}",
            Text(
                one.decision.reason if one.decision else "too unlikely for a word", style="" if one.decision else "dim"
            ),
        )
    return table


def _show_evidence(console: Console, evidence: Why) -> None:
    asked, rival = evidence.explanation, evidence.rival
    if not asked.known:
        console.print(Text(f"{asked.key} was never learned, so nothing speaks for it."))
        return
    beside = f", and {rival.key} with {_chance(rival)}" if rival else ""
    console.print(Text.assemble("Why ", (asked.key, "bold"), f" is next with {_chance(asked)}{beside}:"))
    table = Table(box=SIMPLE, padding=0, pad_edge=False)
    for heading in ("adds", "to other"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("because", "whose", "came"):
        table.add_column(heading)
    for adds, to_other, *cells in _telling(evidence):
        table.add_row(f"{adds:+.2f}", f"{to_other:+.2f}", *(Text(_short(cell)) for cell in cells))
    console.print(table)
    console.print(Text(_CAPTION, style="dim"))


def _telling(evidence: Why) -> list[tuple[float, float, str, str, str]]:
    """Return the reasons that tell the two keys apart, the strongest first.

    Of the words only the strongest are explained: one that is not there for both keys cannot be compared.
    """
    to_asked, to_other = ({} if one is None else _reasons(one) for one in (evidence.explanation, evidence.rival))
    found = [
        (to_asked.get(reason, _NONE)[0], to_other.get(reason, _NONE)[0], *reason, to_asked.get(reason, _NONE)[1])
        for reason in dict.fromkeys((*to_asked, *to_other))
        if reason[1] != _WORDS or not evidence.rival or (reason in to_asked and reason in to_other)
    ]
    found = [reason for reason in found if abs(reason[0] - reason[1]) >= _NOTHING]
    return sorted(found, key=lambda reason: -abs(reason[0] - reason[1]))[:_REASONS]


def _reasons(evidence: Explanation) -> dict[tuple[str, str], tuple[float, str]]:
    """Return, by what speaks for a key and whose that is, what it adds, and how often the key came then."""
    found = {("how popular it is", "everybody's"): (evidence.popularity, "")}
    for context in evidence.contexts:
        whose = "the user's" if context.scope == "user" else "everybody's"
        found[context.context, whose] = context.evidence, f"{context.count:.1f} of {context.total:.1f}"
    for mark in evidence.marks:
        found[mark.what, "the session's"] = mark.evidence, ""
    for word in evidence.words:
        found[f"“{word.what}” was said", _WORDS] = word.evidence, ""
    return found


def _chance(evidence: Explanation) -> str:
    return f"{evidence.prediction.per_step[0]:.1%}"


def _short(text: str) -> str:
    """Keep what a history says from steering the terminal, and from filling it."""
    clean = "".join(character if character.isprintable() else " " for character in text)
    return clean if len(clean) <= _LONGEST else clean[: _LONGEST - 1] + "…"
