"""A model's card: what it is, what it learned from, and how well it does, for people to read."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

from preloader.errors import require
from preloader.evaluation import Row
from preloader.learning.fit import Fitted, NetworkFacts, Used
from preloader.learning.recipe import Recipe

CURVE = "training.png"

FIGURES_HEADER = """\
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

_HOLDS = {
    "online": (
        "The bundle holds weights and counts, and in plain words the names of keys, as the histories write them: where "
        "they\nare commands or paths, the users' own. Contexts, and words that were said, are in it as hashes only; "
        "there are no events."
    ),
    "sequence": (
        "The bundle holds weights and counts, and in plain words the names of keys, as the histories write them (where "
        "they\nare commands or paths, the users' own), and the names of the users whom networks or mixture tell apart, "
        "each with a\nvector, how often they used which key, and how far which expert is believed for them. Contexts, "
        "and words that were\nsaid, are in it as hashes only; there are no events."
    ),
}


def card(fitted: Fitted, recipe: Recipe, command: str) -> str:
    """Return the card, in Markdown."""
    data = fitted.fitted_on
    learned = ", ".join(f"{count:,} items of `{kind}`" for kind, count in fitted.items.items())
    rows = "".join(row_of(kind, row) for kind, found in fitted.validation.items() for row in found)
    networks = "".join(_network(one) for one in fitted.networks)
    return f"""\
# {recipe.name}

{_WHAT[recipe.model]}

## Data

{data.description or "Not described."}

Format `{data.format}`; {len(data.sessions):,} sessions, {data.events:,} events, {learned}.
Licence of the data: {data.licence or "not stated"}.

{_uses(fitted.used)} The manifest lists
the hashes of all of them, and `preloader evaluate` refuses to test on any.

{_HOLDS[recipe.model]}

{networks}## Figures

On what was held out, by predictors that had not learned it. *Frozen*: nothing was learned meanwhile; *online*: each
item was learned once it was scored.

{FIGURES_HEADER}{rows}
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
        draft = network.draft
        epochs = range(1, len(draft.losses) + 1)
        axes.plot(epochs, draft.held_out, marker="o", markersize=3, label="held out, step 1")
        axes.plot(epochs, draft.losses, marker="o", markersize=3, label="training, all heads")
        axes.set(title=network.kind, xlabel="epoch", ylabel="log loss")
        axes.legend(frameon=False, fontsize=8)
    written = BytesIO()
    figure.savefig(written, format="png", dpi=110, metadata={"Software": None})
    return {CURVE: written.getvalue()}


def _network(facts: NetworkFacts) -> str:
    calibration, draft = facts.calibration, facts.draft
    verified = "\n".join(f"- {line}" for line in facts.verification)
    what = _size(facts.parameters, facts.vocabulary, facts.users)
    if facts.refitted:
        what += (
            "\nIt was fitted to everything that was learned. Validated and calibrated was a draft of it, which had not "
            f"learned what was\nheld out: {_size(draft.parameters, draft.vocabulary, draft.users)}"
        )
    if facts.encoder is not None:
        what += (
            f"\nIt hears the latest text through the sentence encoder `{facts.encoder.name}`, which the bundle lacks:"
            f"\ngive it the one with the SHA-256 {facts.encoder.sha256}."
        )
    return f"""\
## Network for `{facts.kind}`

{what}
Temperatures of the steps: {_numbers(calibration.temperatures)}; log-odds of use, if loaded and soon, are multiplied by
{_numbers(calibration.slopes)}, and then {_numbers(calibration.offsets)} is added.
The exported forms against the trained network:

{verified}

![Training curve]({CURVE})

"""


def _size(parameters: int, vocabulary: int, users: int) -> str:
    return f"{parameters:,} parameters, {vocabulary:,} keys, {users:,} users with vectors of their own."


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


def _uses(used: Used) -> str:
    """Return what the sessions were used for."""
    if used.both == used.held_out:
        return (
            f"Of {used.learned:,} sessions {used.held_out:,} were held out to validate and calibrate, and learned once "
            "that was done."
        )
    return f"{used.learned:,} sessions were learned; {used.held_out:,} others only validated and calibrated."


def row_of(kind: str, row: Row) -> str:
    """Return a row beneath `FIGURES_HEADER`."""
    cells = (
        *(f"`{kind}`", row.predictor, row.learn, str(row.step), f"{row.n:,}"),
        f"{_figure(row.top1)} ({_figure(row.top1_low)}-{_figure(row.top1_high)})",
        *(_figure(value) for value in (row.top3, row.top5, row.mrr, row.log_loss, row.ece, row.ece_decisions)),
    )
    return f"| {' | '.join(cells)} |\n"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
