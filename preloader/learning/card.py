"""A model's card: what it is, what it learned from, and how well it does, for people to read."""

from __future__ import annotations

from preloader.evaluation import Row
from preloader.learning.fit import Fitted
from preloader.learning.recipe import Recipe

_HEADER = """\
| kind | predictor | learning | step | items | top-1 (95 % interval) | top-3 | top-5 | MRR | log loss | ECE |
|---|---|---|---|---|---|---|---|---|---|---|
"""


def card(fitted: Fitted, recipe: Recipe, command: str) -> str:
    """Return the card, in Markdown."""
    data = fitted.fitted_on
    learned = ", ".join(f"{count:,} items of `{kind}`" for kind, count in fitted.items.items())
    rows = "".join(_row(kind, row) for kind, found in fitted.validation.items() for row in found)
    held_out = f"{recipe.validation.share:.0%}"
    return f"""\
# {recipe.name}

The state of preloader's online predictor: counts, and the weights of what they say. It goes on learning where it is
used.

## Data

{data.description or "Not described."}

Format `{data.format}`; {len(data.sessions):,} sessions, {data.events:,} events, {learned}.
Licence of the data: {data.licence or "not stated"}.

Only each stream's fit part was learned; the manifest lists the hashes of its sessions, and `preloader evaluate`
refuses to test on them.

## Figures

On the last {held_out} of the sessions, before they were learned too. *Frozen*: nothing was learned meanwhile; *online*:
each item was learned once it was scored.

{_HEADER}{rows}
## Made by

    {command}
"""


def _row(kind: str, row: Row) -> str:
    cells = (
        *(f"`{kind}`", row.predictor, row.learn, str(row.step), f"{row.n:,}"),
        f"{_figure(row.top1)} ({_figure(row.top1_low)}-{_figure(row.top1_high)})",
        *(_figure(value) for value in (row.top3, row.top5, row.mrr, row.log_loss, row.ece)),
    )
    return f"| {' | '.join(cells)} |\n"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
