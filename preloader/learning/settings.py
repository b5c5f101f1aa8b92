"""How large a network is, and how it is fitted: what a recipe may say. Nothing here needs the training stack."""

from __future__ import annotations

from typing import Annotated

import msgspec

Count = Annotated[int, msgspec.Meta(ge=1)]
Part = Annotated[float, msgspec.Meta(ge=0.0, lt=1.0)]
Positive = Annotated[float, msgspec.Meta(gt=0.0)]
Weight = Annotated[float, msgspec.Meta(ge=0.0, le=1e6)]
Rate = Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]
Seed = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
Width = Annotated[int, msgspec.Meta(ge=1, le=4_096)]


class NetworkSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The size of a `SequenceNetwork`.

    Attributes:
        width: Of the keys' embeddings and of every head.
        hidden: Of the recurrent layer and of what joins all evidence.
        word_width: Of the words' embeddings.
        user_width: Of a user's vector.
        dropout: Share of the joined evidence that training leaves out.
        word_dropout: Share of the words that training leaves out.
        user_dropout: Share of the examples that training shows without their user: the population's.
        direct: Whether words speak for keys directly, too, beside all else (*Wide & Deep*, Cheng et al. 2016).
        wide: Whether each word of the latest text has a weight of its own for every key, besides: a linear model of
            text within the network, of word buckets times keys numbers.
    """

    width: Width = 64
    hidden: Width = 128
    word_width: Width = 32
    user_width: Width = 16
    dropout: Part = 0.25
    word_dropout: Part = 0.2
    user_dropout: Part = 0.15
    direct: bool = False
    wide: bool = False


class TrainingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a network is fitted.

    Attributes:
        epochs: How often all examples are seen.
        batch: How many at once.
        rate: The largest learning rate; it rises for a tenth of the time and then falls along a cosine.
        weight_decay: AdamW's (Loshchilov & Hutter, ICLR 2019).
        smoothing: Of the labels.
        average: Decay of the running mean of the weights that is kept in the end (Polyak & Juditsky 1992).
        use_weight: What the heads of use count beside the steps.
        later_weight: What the later steps count; where words tell the next item but no other, they teach chance.
        waits: Whether contexts are learned from that nothing comes next in: a decision is made there, too.
        seed: Of everything random.
    """

    epochs: Count = 12
    batch: Count = 128
    rate: Rate = 3e-3
    weight_decay: Part = 0.02
    smoothing: Part = 0.0
    average: Part = 0.998
    use_weight: Weight = 1.0
    later_weight: Weight = 1.0
    waits: bool = True
    seed: Seed = 0
