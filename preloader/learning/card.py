"""A model's card: what it is, what it learned from, and how well it does, for people to read."""

from __future__ import annotations

from io import BytesIO

from preloader.errors import require
from preloader.evaluation import Row
from preloader.learning.fit import Fitted, NetworkFacts
from preloader.learning.recipe import Recipe

CURVE = "training.png"

_HEADER = """\
| kind | predictor | learning | step | n | top-1 (95 % interval) | top-3 | top-5 | MRR | log loss | ECE | decisions |
|---|---|---|---|---|---|---|---|---|---|---|---|
"""
_WHAT = {
    "online": (
        "The state of preloader's online predictor: counts, and the weights of what they say. It goes on learning\n"
        "where it is used."
    ),
    "sequence": (
        "A mixture of preloader's online predictor, which goes on learning where it is used, and a sequence model that "
        "was\ntrained offline and runs in ONNX Runtime or CoreML. How far each is believed goes on being learned, too."
    ),
}


def card(fitted: Fitted, recipe: Recipe, command: str) -> str:
    """Return the card, in Markdown."""
    data = fitted.fitted_on
    learned = ", ".join(f"{count:,} items of `{kind}`" for kind, count in fitted.items.items())
    rows = "".join(_row(kind, row) for kind, found in fitted.validation.items() for row in found)
    networks = "".join(_network(one) for one in fitted.networks)
    return f"""\
# {recipe.name}

{_WHAT[recipe.model]}

## Data

{data.description or "Not described."}

Format `{data.format}`; {len(data.sessions):,} sessions, {data.events:,} events, {learned}.
Licence of the data: {data.licence or "not stated"}.

Only each stream's fit part was learned; the manifest lists the hashes of its sessions, and `preloader evaluate`
refuses to test on them. The bundle holds weights, counts and the names of keys, no rows of the data.

{networks}## Figures

On what was held out (see the recipe's `validation`), before it was learned too. *Frozen*: nothing was learned
meanwhile; *online*: each item was learned once it was scored.

{_HEADER}{rows}
## Made by

    {command}
"""


def plots(fitted: Fitted) -> dict[str, bytes]:
    """Return the card's plots by file name: the networks' training curves, where there are any."""
    if not fitted.networks:
        return {}
    figures = require("matplotlib.figure", "report")
    figure = figures.Figure(figsize=(5.0 * len(fitted.networks), 3.2), layout="constrained")
    for place, network in enumerate(fitted.networks, start=1):
        axes = figure.add_subplot(1, len(fitted.networks), place)
        epochs = range(1, len(network.losses) + 1)
        axes.plot(epochs, network.held_out, marker="o", markersize=3, label="held out, step 1")
        axes.plot(epochs, network.losses, marker="o", markersize=3, label="training, all heads")
        axes.set(title=network.kind, xlabel="epoch", ylabel="log loss")
        axes.legend(frameon=False, fontsize=8)
    written = BytesIO()
    figure.savefig(written, format="png", dpi=110, metadata={"Software": None})
    return {CURVE: written.getvalue()}


def _network(facts: NetworkFacts) -> str:
    warmth = ", ".join(f"{temperature:.2f}" for temperature in facts.temperatures)
    verified = "\n".join(f"- {line}" for line in facts.verification)
    return f"""\
## Network for `{facts.kind}`

{facts.parameters:,} parameters, {facts.vocabulary:,} keys, {facts.users:,} users with vectors of their own;
temperatures {warmth}.
The exported forms against the trained network:

{verified}

![Training curve]({CURVE})

"""


def _row(kind: str, row: Row) -> str:
    cells = (
        *(f"`{kind}`", row.predictor, row.learn, str(row.step), f"{row.n:,}"),
        f"{_figure(row.top1)} ({_figure(row.top1_low)}-{_figure(row.top1_high)})",
        *(_figure(value) for value in (row.top3, row.top5, row.mrr, row.log_loss, row.ece, row.ece_decisions)),
    )
    return f"| {' | '.join(cells)} |\n"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
