"""The sequence model: what was done lately, in what words, when and by whom, made into what comes next.

A recurrent network over the latest rows (GRU4Rec, Hidasi et al., ICLR 2016; here an LSTM, which CoreML runs as one
operator), joined by bags of hashed words (Joulin et al., *Bag of Tricks for Efficient Text Classification*, 2017), the
user's vector, and the moment. The keys' embeddings are shared by input and all heads (Inan et al., ICLR 2017), which
keeps the bundle small and helps rare keys; beside them stands how lately and how often the session used each key, which
every context weighs anew.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from preloader.learning.settings import NetworkSettings
from preloader.prediction.features import AGES, COUNTS, FLAGS, MOMENTS, FeatureSettings

INPUTS = ("items", "pieces", "flags", "ages", "counts", "words", "word_weights", "circumstances", "moment", "user")
OUTPUTS = ("log_probabilities", "uses")
SENTENCE = "sentence"
"""The input that there is besides, where a sentence encoder hears the latest text."""

USES = 2  # used if loaded now, used soon
_USED_WIDTH = 16


class SequenceNetwork(nn.Module):
    """Predicts the next items of one kind at every step, and whether keys are used at all.

    Args:
        vocabulary: V, how many keys have a number.
        steps: How many items ahead.
        features: What it sees.
        settings: Its size.
        sentence_width: The length of a sentence encoder's vectors; 0 without one.
    """

    def __init__(
        self,
        vocabulary: int,
        steps: int,
        features: FeatureSettings,
        settings: NetworkSettings,
        sentence_width: int = 0,
    ) -> None:
        super().__init__()
        self.inputs = (*INPUTS, SENTENCE) if sentence_width else INPUTS
        width, hidden = settings.width, settings.hidden
        self.vocabulary, self.steps = vocabulary, steps
        self.settings, self.features = settings, features
        self.user_width = settings.user_width
        self.heads = steps + USES
        self.keys = nn.Embedding(vocabulary + 3, width)  # … and "no item", "before the start"
        self.pieces = nn.Embedding(1 << features.piece_bits, width, padding_idx=0)
        self.flags = nn.Linear(FLAGS, width)
        self.enter = nn.LayerNorm(width)
        self.recurrent = nn.LSTM(width, hidden, batch_first=True)
        self.words = nn.Embedding(1 << features.word_bits, settings.word_width, padding_idx=0)
        # a vector of length 1 has small entries, which its own layer may make as large as the rest
        self.sentence = nn.Linear(sentence_width, settings.word_width, bias=False) if sentence_width else None
        texts = features.texts + bool(sentence_width)
        evidence = hidden + texts * settings.word_width + width + MOMENTS + settings.user_width
        self.join = nn.Sequential(nn.Dropout(settings.dropout), nn.Linear(evidence, hidden), nn.ReLU())
        self.deepen = nn.Sequential(nn.Dropout(settings.dropout), nn.Linear(hidden, hidden), nn.ReLU())
        self.turn = nn.Linear(hidden, self.heads * width)
        self.direct = (
            nn.Linear(features.texts * settings.word_width, vocabulary + 1, bias=False) if settings.direct else None
        )
        self.wide = nn.Embedding(1 << features.word_bits, vocabulary + 1, padding_idx=0) if settings.wide else None
        self.bias = nn.Parameter(torch.zeros(self.heads, vocabulary + 1))
        self.ages = nn.Embedding(AGES, _USED_WIDTH)
        self.counts = nn.Embedding(COUNTS, _USED_WIDTH)
        self.weigh = nn.Linear(hidden, self.heads * _USED_WIDTH)
        self.reset()

    def reset(self) -> None:
        """Draw the weights anew."""
        for table in (self.keys, self.pieces, self.words):
            nn.init.normal_(table.weight, std=0.1)
        for padded in (self.pieces, self.words):
            nn.init.zeros_(padded.weight[0])
        if self.wide is not None:
            nn.init.zeros_(self.wide.weight)
        for used in (self.ages, self.counts):
            nn.init.normal_(used.weight, std=0.3)

    def forward(
        self,
        items: Tensor,
        pieces: Tensor,
        flags: Tensor,
        ages: Tensor,
        counts: Tensor,
        words: Tensor,
        word_weights: Tensor,
        circumstances: Tensor,
        moment: Tensor,
        user: Tensor,
        sentence: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return log-probabilities (batch, steps, 1 + V), and log-odds of use (batch, 2, 1 + V)."""
        rows = self.keys(items) + self.pieces(pieces).sum(2) + self.flags(flags)  # (batch, rows, width)
        read = self.recurrent(self.enter(rows))[0][:, -1]  # (batch, hidden)
        heard = (self.words(words) * word_weights.unsqueeze(-1)).sum(2)  # (batch, texts, word width)
        around = self.pieces(circumstances).sum(1)  # (batch, width)
        parts = [read, heard.flatten(1), around, moment, user]
        if self.sentence is not None:
            parts.append(self.sentence(sentence))  # (batch, word width)
        evidence = torch.cat(parts, dim=1)
        joined = self.join(evidence)
        joined = joined + self.deepen(joined)  # (batch, hidden)
        turned = self.turn(joined).unflatten(1, (self.heads, -1))  # (batch, heads, width)
        keys = self.keys.weight[: self.vocabulary + 1]  # (1 + V, width)
        used = self.ages(ages) + self.counts(counts)  # (batch, 1 + V, used width)
        weighed = self.weigh(joined).unflatten(1, (self.heads, -1))  # (batch, heads, used width)
        scores = turned @ keys.T + weighed @ used.transpose(1, 2) + self.bias  # (batch, heads, 1 + V)
        told, uses = scores[:, : self.steps], scores[:, self.steps :]
        if self.direct is not None:
            told = told + self.direct(heard.flatten(1)).unsqueeze(1)  # the same for all steps
        if self.wide is not None:
            latest = self.wide(words[:, 0]) * word_weights[:, 0].unsqueeze(-1)  # (batch, words, 1 + V)
            told = told + latest.sum(1, keepdim=True)
        return told.log_softmax(-1), uses


class AveragedNetwork(nn.Module):
    """The mean of what several networks say: of their probabilities, and of their log-odds of use.

    Networks that were fitted from different seeds err differently, so their mean says more than each of them, and is
    better calibrated (*deep ensembles*, Lakshminarayanan et al., NeurIPS 2017). It takes the same inputs as each of
    them, but that the users' vectors are all members' vectors side by side.

    Args:
        members: Networks of the same shape.
    """

    def __init__(self, members: Sequence[SequenceNetwork]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.vocabulary, self.steps = members[0].vocabulary, members[0].steps
        self.settings, self.features = members[0].settings, members[0].features
        self.user_width = len(members) * members[0].user_width
        self.inputs = members[0].inputs

    def forward(
        self,
        items: Tensor,
        pieces: Tensor,
        flags: Tensor,
        ages: Tensor,
        counts: Tensor,
        words: Tensor,
        word_weights: Tensor,
        circumstances: Tensor,
        moment: Tensor,
        user: Tensor,
        sentence: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return log-probabilities (batch, steps, 1 + V), and log-odds of use (batch, 2, 1 + V)."""
        width = self.user_width // len(self.members)
        users = [user[:, start : start + width] for start in range(0, self.user_width, width)]
        said = [
            member(items, pieces, flags, ages, counts, words, word_weights, circumstances, moment, vector, sentence)
            for member, vector in zip(self.members, users, strict=True)
        ]
        logs = torch.stack([told for told, _ in said])  # (members, batch, steps, 1 + V)
        odds = torch.stack([uses for _, uses in said])  # (members, batch, 2, 1 + V)
        return logs.logsumexp(0) - math.log(len(said)), odds.mean(0)


AnyNetwork = SequenceNetwork | AveragedNetwork


def parameters(network: nn.Module) -> int:
    """Return how many numbers a network learned."""
    return sum(parameter.numel() for parameter in network.parameters())
