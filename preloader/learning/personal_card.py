"""The card and the facts of a user's own bundle: what it builds on, what was adapted, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from preloader.evaluation import Row
from preloader.learning.base import Base
from preloader.learning.card import FIGURES_HEADER, row_of
from preloader.learning.personalise import Choice
from preloader.prediction import Bundle
from preloader.prediction.manifest import Facts, Source

OWN_HISTORY = "a user's own history"
"""The name of the source, in a manifest, that tells a user's own bundle from all others."""


class PersonalFacts(msgspec.Struct, frozen=True):
    """What is to be told of one user's adapter for one kind.

    Attributes:
        sessions: How many sessions it was fitted to.
        choice: In what way.
        base_loss: The base's mean log loss on the sessions that chose, nats.
        loss: The adapter's there.
        rows: Figures on the user's held-out sessions.
        excluded: How many of those are not in the figures, because the base had learned them.
    """

    sessions: int
    choice: Choice
    base_loss: float
    loss: float
    rows: Sequence[Row]
    excluded: int


def personal_card(
    bundle: Bundle,
    user: str,
    personal: Mapping[str, Base],
    told: Mapping[str, PersonalFacts],
    verification: Mapping[str, Sequence[str]],
    command: str,
) -> str:
    """Return the card, in Markdown.

    Args:
        bundle: The base.
        user: Whose bundle it is.
        personal: The user's networks by kind.
        told: What is to be told of each, as far as it is known.
        verification: How far each one's export is from it, in words.
        command: What was run.
    """
    kinds = "".join(_kind(kind, base, told.get(kind), verification[kind]) for kind, base in personal.items())
    rows = "".join(row_of(kind, row) for kind, one in told.items() for row in one.rows)
    excluded = sum(one.excluded for one in told.values())
    left_out = f" {excluded:,} held-out sessions are left out of them: the base had learned those." if excluded else ""
    figures = f"## Figures\n\nOn the user's held-out sessions.{left_out}\n\n{FIGURES_HEADER}{rows}\n"
    before = bundle.manifest.fitted_on
    data, licence = (before.description, before.licence) if before else ("", "")
    return f"""\
# {bundle.path.name}, adapted to {user}

The bundle `{bundle.path.name}` with networks adapted to one user (low-rank updates, merged), whose sessions mixture and
online predictor have learned, too. Both go on learning where they are used.

## Data

The base's: {data or "Not described."}
Licence of that: {licence or "not stated"}.
The user's: the sessions that a history left to be learned. The manifest lists the hashes of all sessions that either
learned, and `preloader evaluate` refuses to test on any. In plain words the bundle holds what its base holds, the
user's name, and keys that the user used; no events.

{kinds}{figures if rows else ""}## Made by

    {command}
"""


def personal_facts(
    bundle: Bundle,
    vocabulary: int,
    personal: Mapping[str, Base],
    told: Mapping[str, PersonalFacts],
    verification: Mapping[str, Sequence[str]],
) -> Facts:
    """Return the base's facts with what is the user's own in place of the base's; see `personal_card`.

    Args:
        bundle: The base.
        vocabulary: How many keys all networks of the user's bundle name.
        personal: The user's networks by kind.
        told: What is to be told of each, as far as it is known.
        verification: How far each one's export is from it, in words.
    """
    before = bundle.manifest.facts or Facts()
    own: dict[str, Any] = {kind: msgspec.to_builtins(base.spec.calibration) for kind, base in personal.items()}
    fitted_on = bundle.manifest.fitted_on
    stated = [Source(name=fitted_on.description or fitted_on.format, licence=fitted_on.licence)] if fitted_on else []
    return Facts(
        features=before.features,
        vocabulary=vocabulary,
        calibration={**before.calibration, **own},
        metrics={kind: msgspec.to_builtins(one) for kind, one in told.items()},
        verification={**before.verification, **{kind: list(words) for kind, words in verification.items()}},
        sources=[*(before.sources or stated), Source(name=OWN_HISTORY, licence="not stated")],
    )


def _kind(kind: str, base: Base, told: PersonalFacts | None, verification: Sequence[str]) -> str:
    chosen = ""
    if told is not None:
        choice = told.choice
        chosen = (
            f"Fitted to {told.sessions:,} sessions at rank {choice.rank} and rate {choice.rate:g} for {choice.epochs} "
            f"epochs; {choice.share:.0%} of the\ndifference is kept. On the sessions that chose this, the log loss "
            f"fell from {told.base_loss:.3f} to {told.loss:.3f} nats.\n"
        )
    lines = "\n".join(f"- {line}" for line in verification)
    return f"""\
## Network for `{kind}`

{chosen}{len(base.spec.vocabulary):,} keys. The exported form against the adapted network:

{lines}

"""
