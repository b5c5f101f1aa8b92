"""How large a model without a vocabulary is, and how it is trained. Nothing here needs the training stack."""

from __future__ import annotations

from typing import Annotated

import msgspec

from preloader.learning.settings import Count, Part, Positive, Rate, Seed, Weight, Width
from preloader.prediction.anonymous_memory import AnonymousSettings


class AnonymousNetworkSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The size of an `AnonymousNetwork`.

    Attributes:
        width: Of the function that reads each candidate.
        slot_width: Of the slots' vectors.
        hidden: Of the recurrent layer.
        dropout: Share of what was read that training leaves out.
        patience: After how many items the online predictor's opinion is half as open to correction as at first: by
            then it knows the assistant's own habits, and what others did misleads.
    """

    width: Width = 48
    slot_width: Width = 24
    hidden: Width = 32
    dropout: Part = 0.1
    patience: Positive = 100.0


class AnonymousTraining(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an anonymous model is trained.

    Attributes:
        features: What it sees.
        network: Its size.
        items: How many items a memory lives before it starts cold again: one pass over the data for each number.
        batches: How many mini-batches are learned.
        batch: How many examples each holds.
        rate: The largest learning rate.
        decay: Weight decay.
        average: How slowly the running mean of the weights, which is what comes out, follows them.
        blur: Share of the features that are left out, each for a whole example.
        use_weight: What the loss of use weighs against that of the next item.
        seed: Of everything drawn.
    """

    features: AnonymousSettings = AnonymousSettings()
    network: AnonymousNetworkSettings = AnonymousNetworkSettings()
    items: Annotated[tuple[Count, ...], msgspec.Meta(min_length=1)] = (250,)
    batches: Count = 500
    batch: Count = 128
    rate: Rate = 3e-3
    decay: Part = 0.01
    average: Part = 0.995
    blur: Part = 0.2
    use_weight: Weight = 0.2
    seed: Seed = 0
