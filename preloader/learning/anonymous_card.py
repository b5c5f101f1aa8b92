"""The card and the facts of a model without a vocabulary: what it learned from, and what new assistants gain."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import msgspec

from preloader.errors import require
from preloader.evaluation.first_events import FIRST_EVENTS, TOO_SHORT, Gain
from preloader.learning.anonymous_recipe import AnonymousRecipe
from preloader.learning.card import CURVE
from preloader.learning.fit_sources import FittedSources
from preloader.prediction.manifest import Facts, Source

_HEADER = """\
| source, kind | predictor | items | top-1 | top-3 | MRR | log loss | top-1 gained (95 %) | log loss gained (95 %) |
|---|---|---|---|---|---|---|---|---|
"""
_SMOOTHED_OVER = 20


def anonymous_card(fitted: FittedSources, recipe: AnonymousRecipe, command: str) -> str:
    """Return the card, in Markdown."""
    sources = "\n".join(
        f"- {one.description or one.format} Licence: {one.licence or 'not stated'}.{f' <{one.url}>' if one.url else ''}"
        for one in recipe.sources
    )
    learned = "\n".join(f"- {name}: {count:,} items" for name, count in fitted.items.items())
    verified = "\n".join(f"- {line}" for line in fitted.verification)
    rows = "".join(_row(name, who, gain) for name, gains in fitted.validation.items() for who, gain in gains.items())
    figures = f"{_HEADER}{rows}" if rows else f"None. {TOO_SHORT}\n"
    return f"""\
# {recipe.name}

A beginning for assistants that nobody has seen: a mixture of preloader's online predictor, which is empty and learns
where it is used, and a network that knows no key's name. The network learned from other assistants how far to believe
counts, times and words while an assistant is new; once a kind came {recipe.anonymous.features.max_items:,} times, it
says nothing of it any more. It runs in ONNX Runtime or CoreML.

## Data

{sources}

Learned was of each source, and of {recipe.invented:,} assistants drawn at random (`preloader.learning.invented`):

{learned}

Only each stream's fit part was learned, without its end, which the figures below are from; the manifest lists the
hashes of both, and `preloader evaluate` refuses to test on them. Of histories whose users share an assistant, the
hashes are of the history's name, too. The bundle holds weights, no rows of the data and no names of keys.

## Network

{fitted.parameters:,} parameters. The exported forms against the trained network:

{verified}

![Training curve]({CURVE})

## Figures

The first {FIRST_EVENTS} events of new assistants, who begin with what was held out, every predictor empty at first;
the next item. Gained: over the online predictor alone, on the same items; a gained log loss is good below 0.

{figures}
What it is worth to an assistant unlike all of these, `preloader leave-out` measures.

## Made by

    {command}
"""


def anonymous_plots(losses: Sequence[float]) -> dict[str, bytes]:
    """Return the card's plot by file name: the training curve."""
    figure = require("matplotlib.figure", "report").Figure(figsize=(5.0, 3.2), layout="constrained")
    axes = figure.add_subplot()
    smooth = [sum(held) / len(held) for held in _windows(losses, _SMOOTHED_OVER)]
    axes.plot(range(1, len(smooth) + 1), smooth)
    axes.set(xlabel="mini-batch", ylabel=f"training loss, mean of {_SMOOTHED_OVER}")
    written = BytesIO()
    figure.savefig(written, format="png", dpi=110, metadata={"Software": None})
    return {CURVE: written.getvalue()}


def anonymous_facts(fitted: FittedSources, recipe: AnonymousRecipe) -> Facts:
    """Return features, figures on what was held out, verification and sources, for a manifest."""
    return Facts(
        features=msgspec.to_builtins(recipe.anonymous.features),
        metrics=msgspec.to_builtins(fitted.validation),
        verification={"anonymous": fitted.verification},
        sources=[
            Source(name=one.description or one.format, licence=one.licence, url=one.url) for one in recipe.sources
        ],
    )


def _windows(values: Sequence[float], most: int) -> list[Sequence[float]]:
    return [values[max(0, end - most) : end] for end in range(1, len(values) + 1)]


def _row(name: str, who: str, gain: Gain) -> str:
    one = gain.metrics
    cells = (name, who, f"{one.n:,}", *(f"{value:.3f}" for value in (one.top1, one.top3, one.mrr, one.log_loss)))
    gained = (_signed(gain.top1), _signed(gain.log_loss))
    return f"| {' | '.join((*cells, *gained))} |\n"


def _signed(interval: tuple[float, float, float]) -> str:
    mean, low, high = interval
    return f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"
