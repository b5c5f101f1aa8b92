"""A network whose keys have no names: it scores slots by what is known of them, and by the order they came in.

Two parts, added up. One function, the same for every slot, reads a candidate's features beside what is known of the
whole and of all candidates together (*Deep Sets*, Zaheer et al., NeurIPS 2017): exchanging two candidates exchanges
their scores. The other, an LSTM, reads the latest items as slot numbers, and points at slots by dot product; its slots'
vectors are assigned to keys at random in training (as in arXiv 2605.29863), so that none comes to mean anything.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from preloader.learning.anonymous_settings import AnonymousNetworkSettings
from preloader.prediction.anonymous_features import AROUND, CANDIDATE_FEATURES, FLAGS, ITEMS, SCALE

INPUTS = ("candidates", "present", "around", "recent", "flags")
OUTPUTS = ("log_probabilities", "uses")
USES = 2  # used if loaded now, used soon

_ABSENT = -30.0


class AnonymousNetwork(nn.Module):
    """Predicts the next items among S slots, or that a key comes which has none, and whether slots are used at all.

    Args:
        slots: S, the largest number of candidates.
        steps: How many items ahead.
        settings: Its size.
    """

    def __init__(self, slots: int, steps: int, settings: AnonymousNetworkSettings) -> None:
        super().__init__()
        width, self.heads = settings.width, steps + USES
        self.slots, self.steps, self.settings = slots, steps, settings
        self.candidate = nn.Linear(CANDIDATE_FEATURES, width)
        self.around = nn.Sequential(nn.Linear(AROUND, width), nn.ReLU(), nn.Linear(width, width))
        self.pooled = nn.Linear(2 * width, width)
        self.drop = nn.Dropout(settings.dropout)
        self.deepen = nn.Sequential(nn.Linear(width, width), nn.ReLU())
        self.score = nn.Linear(width, self.heads)
        self.direct = nn.Linear(CANDIDATE_FEATURES, self.heads, bias=False)
        self.newcomer = nn.Linear(width, self.heads)
        self.whole = nn.Linear(AROUND, self.heads, bias=False)
        self.vectors = nn.Embedding(slots + 1, settings.slot_width)
        self.flags = nn.Linear(FLAGS, settings.slot_width)
        self.recurrent = nn.LSTM(2 * settings.slot_width, settings.hidden, batch_first=True)
        self.point = nn.Linear(settings.hidden, self.heads * settings.slot_width)
        self.register_buffer("heard", torch.eye(steps, self.heads) / SCALE)
        self.register_buffer("bound", torch.eye(steps, self.heads).sum(0))
        self.reset()

    heard: Tensor
    bound: Tensor

    def reset(self) -> None:
        """Draw the weights anew, so that the network begins as the online predictor."""
        nn.init.normal_(self.vectors.weight, std=0.5)
        for last in (self.direct, self.whole, self.score, self.newcomer, self.point):
            for parameter in last.parameters():
                nn.init.zeros_(parameter)

    def forward(
        self, candidates: Tensor, present: Tensor, around: Tensor, recent: Tensor, flags: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return log-probabilities (batch, steps, 1 + S), and log-odds of use (batch, 2, 1 + S).

        Args:
            candidates: (batch, S, `CANDIDATE_FEATURES`).
            present: (batch, S).
            around: (batch, `AROUND`).
            recent: (batch, rows), integers.
            flags: (batch, rows, `FLAGS`).
        """
        table = self.vectors.weight  # (1 + S, slot width)
        return self._told(candidates, present, around, functional.embedding(recent, table), flags, table)

    def disguised(
        self, candidates: Tensor, present: Tensor, around: Tensor, recent: Tensor, flags: Tensor, identities: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return what `forward` does, with the slots' vectors assigned otherwise; S may be smaller than at run time.

        Args:
            candidates: As for `forward`, as are the others.
            present: …
            around: …
            recent: …
            flags: …
            identities: Which of the vectors each slot takes, from 1, preceded by a 0 for no slot: (batch, 1 + S).
        """
        table = self.vectors(identities)  # (batch, 1 + S, slot width)
        items = table.gather(1, recent.unsqueeze(-1).expand(-1, -1, table.shape[2]))  # (batch, rows, slot width)
        return self._told(candidates, present, around, items, flags, table)

    def _told(
        self, candidates: Tensor, present: Tensor, around: Tensor, items: Tensor, flags: Tensor, table: Tensor
    ) -> tuple[Tensor, Tensor]:
        read, pooled = self._read(candidates, present, around)
        scores = (self.score(read) + self.direct(candidates)).transpose(1, 2)  # (batch, heads, S)
        scores = scores + self._pointed(table, items, flags)[:, :, 1:]
        openness = self._openness(around)  # (batch, heads)
        scores = scores * openness.unsqueeze(2) + self._opinion(candidates).transpose(1, 2)
        scores = scores * present.unsqueeze(1) + _ABSENT * (1.0 - present).unsqueeze(1)
        newcomer = (self.newcomer(pooled) + self.whole(around)) * openness + self._opinion(around)  # (batch, heads)
        scores = torch.cat([newcomer.unsqueeze(2), scores], dim=2)  # (batch, heads, 1 + S)
        return scores[:, : self.steps].log_softmax(-1), scores[:, self.steps :]

    def _opinion(self, described: Tensor) -> Tensor:
        """Return what the online predictor says, from features that begin with it: (…, heads)."""
        opinion: Tensor = described[..., : self.steps] @ self.heard
        return opinion

    def _openness(self, around: Tensor) -> Tensor:
        """Return how far the opinion may be corrected, from 1 at first; there is none of use: (batch, heads)."""
        items = torch.exp(around[:, ITEMS : ITEMS + 1] / SCALE) - 1.0
        settled = items / (self.settings.patience + items)  # (batch, 1)
        return 1.0 - settled * self.bound

    def _read(self, candidates: Tensor, present: Tensor, around: Tensor) -> tuple[Tensor, Tensor]:
        """Return what was read of each candidate (batch, S, width), and of all together (batch, width)."""
        mask = present.unsqueeze(-1)  # (batch, S, 1)
        whole = self.around(around)  # (batch, width)
        each = torch.relu(self.candidate(candidates) + whole.unsqueeze(1)) * mask  # (batch, S, width)
        mean = each.sum(1) / (mask.sum(1) + 1.0)
        pooled = whole + self.pooled(torch.cat([mean, each.amax(1)], dim=1))  # (batch, width)
        joined = torch.relu(each + pooled.unsqueeze(1))
        return self.drop(joined + self.deepen(joined)), torch.relu(pooled)

    def _pointed(self, table: Tensor, items: Tensor, flags: Tensor) -> Tensor:
        """Return how much the sequence points at each slot, (batch, heads, 1 + S)."""
        rows = torch.cat([items, self.flags(flags)], dim=2)  # (batch, rows, 2 slot widths)
        last = self.recurrent(rows)[0][:, -1]  # (batch, hidden)
        pointers = self.point(last).unflatten(1, (self.heads, -1))  # (batch, heads, slot width)
        pointed: Tensor = pointers @ table.transpose(-1, -2)
        return pointed
