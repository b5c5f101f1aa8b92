"""A network with every sort of layer that is exported, small enough to be evaluated a thousand times in a test."""

import torch
from torch import nn

OUTPUTS = ("log_probabilities", "uses")
ROWS, KEYS, WIDTH, WORDS = 3, 12, 8, 32


class EveryLayer(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.keys = nn.Embedding(KEYS + 2, WIDTH)
        self.words = nn.Embedding(WORDS, WIDTH)
        self.flags = nn.Linear(2, WIDTH)
        self.enter = nn.LayerNorm(WIDTH)
        self.lstm = nn.LSTM(WIDTH, WIDTH, batch_first=True)
        self.gru = nn.GRU(WIDTH, WIDTH, batch_first=True)
        self.attend = nn.TransformerEncoderLayer(
            WIDTH, 2, 2 * WIDTH, dropout=0.1, activation="gelu", batch_first=True, norm_first=True
        )
        self.join = nn.Sequential(nn.Linear(3 * WIDTH + 4, WIDTH), nn.GELU(), nn.Linear(WIDTH, 2 * WIDTH))
        self.bias = nn.Parameter(torch.randn(2, KEYS))

    def forward(self, items, words, weights, flags, moment):
        rows = self.enter(self.keys(items) + self.flags(flags))
        read = self.lstm(rows)[0] + self.gru(rows)[0] + self.attend(rows)
        heard = (self.words(words) * weights.unsqueeze(-1)).sum(1)
        last = self.keys(items[:, -1])
        last = torch.where(items[:, -1:] > 3, last, -last)
        joined = self.join(torch.cat([read[:, -1], heard, last, moment], 1)).relu()
        scores = joined.unflatten(1, (2, -1)) @ self.keys.weight[:KEYS].T + self.bias
        return scores[:, :1].log_softmax(-1), scores[:, 1:]


def sample_inputs(count, seed=0):
    drawn = torch.Generator().manual_seed(seed)

    def whole(below, *shape):
        return torch.randint(0, below, (count, *shape), generator=drawn, dtype=torch.int32)

    def real(*shape):
        return torch.randn(count, *shape, generator=drawn)

    return {
        "items": whole(KEYS + 2, ROWS),
        "words": whole(WORDS, 5),
        "weights": real(5).abs(),
        "flags": real(ROWS, 2),
        "moment": real(4),
    }


def as_arrays(tensors):
    return {name: tensor.numpy() for name, tensor in tensors.items()}
