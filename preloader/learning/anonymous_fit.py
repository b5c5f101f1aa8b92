"""Fits an `AnonymousNetwork`: mini-batches mixed from all sources alike, with identities drawn anew each time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from preloader.learning.aligned import aligned
from preloader.learning.anonymous_examples import (
    NOTHING,
    AnonymousExamples,
    Assistant,
    anonymous_examples,
)
from preloader.learning.anonymous_network import USES, AnonymousNetwork
from preloader.learning.anonymous_settings import AnonymousTraining
from preloader.learning.descent import descend, follow, means_of, warmth, weight_of
from preloader.ndarray import NDArray
from preloader.prediction.anonymous_features import STEPS

_RISING_PART = 20  # the learning rate rises for a twentieth of the mini-batches

Batch = dict[str, Tensor]
OnProgress = Callable[[int, float], None]


def fit_anonymous(
    assistants: Sequence[Assistant],
    training: AnonymousTraining,
    on_progress: OnProgress = lambda batch, loss: None,
) -> AnonymousNetwork:
    """Return a network that learned from assistants.

    Args:
        assistants: What is learned from.
        training: How.
        on_progress: Called after each mini-batch with its number, from 1, and its loss.
    """
    features = training.features
    sets = [anonymous_examples(assistants, features, STEPS, items) for items in training.items]
    return fit_examples(sets, training, on_progress)


def fit_examples(
    sets: Sequence[AnonymousExamples], training: AnonymousTraining, on_progress: OnProgress = lambda batch, loss: None
) -> AnonymousNetwork:
    """Return a network that learned from examples; see `fit_anonymous`."""
    torch.manual_seed(training.seed)
    network = AnonymousNetwork(training.features.candidates, STEPS, training.network).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=training.rate, weight_decay=training.decay)
    means = means_of(network)
    generator = np.random.default_rng(training.seed)
    for number in range(1, training.batches + 1):
        examples = sets[int(generator.integers(len(sets)))]
        chosen = _drawn(examples, training.batch, generator)
        batch = batch_of(examples, chosen, training.features.candidates, generator)
        loss = loss_of(network, batch, training)
        descend(optimizer, loss, training.rate * warmth(number, training.batches, part=_RISING_PART, first=1))
        follow(means, network, training.average, number)
        on_progress(number, float(loss.detach()))
    network.load_state_dict(means)
    return network.eval()


def batch_of(
    examples: AnonymousExamples, chosen: NDArray[np.int64], slots: int, generator: np.random.Generator | None = None
) -> Batch:
    """Return examples as tensors, with as many slots as the fullest needs; identities are drawn, if by anything."""
    ends = examples.ends[chosen]
    counts = ends - np.where(chosen > 0, examples.ends[chosen - 1], 0)
    most = max(int(counts.max()), 1)
    present = np.arange(most) < counts[:, None]  # (batch, slots)
    rows = np.where(present, (ends - counts)[:, None] + np.arange(most), 0)
    batch = {
        "candidates": aligned(np.where(present[..., None], examples.candidates[rows], 0)).float(),
        "present": aligned(present).float(),
        "around": aligned(examples.around[chosen]).float(),
        "recent": aligned(examples.recent[chosen]).long(),
        "flags": aligned(examples.flags[chosen]).float(),
        "labels": aligned(examples.labels[chosen]),
        "uses": aligned(examples.uses[rows]).float(),  # (batch, slots, 2)
    }
    given = np.arange(1, slots + 1) if generator is None else 1 + generator.random((len(chosen), slots)).argsort(axis=1)
    identities = np.zeros((len(chosen), most + 1), np.int64)
    identities[:, 1:] = given[..., :most]
    return {**batch, "identities": aligned(identities)}


def loss_of(network: AnonymousNetwork, batch: Batch, training: AnonymousTraining) -> Tensor:
    """Return the loss of a batch."""
    inputs = [batch[name] for name in ("candidates", "present", "around", "recent", "flags", "identities")]
    if network.training:
        inputs[0], inputs[2] = inputs[0] * _kept(inputs[0], training.blur), inputs[2] * _kept(inputs[2], training.blur)
    told, odds = network.disguised(*inputs)  # (batch, steps, 1 + slots), (batch, 2, 1 + slots)
    loss = torch.zeros(())
    for step in range(told.shape[1]):
        labels = batch["labels"][:, step]
        if bool((labels != NOTHING).any()):
            loss = loss + weight_of(step) * functional.nll_loss(told[:, step], labels, ignore_index=NOTHING)
    used = functional.binary_cross_entropy_with_logits(odds[:, :, 1:], batch["uses"].transpose(1, 2), reduction="none")
    present = batch["present"].unsqueeze(1)
    return loss + training.use_weight * (used * present).sum() / (USES * present.sum()).clamp(min=1.0)


def _kept(features: Tensor, blur: float) -> Tensor:
    """Return which features each example keeps, of all candidates alike; the opinion always is."""
    kept = torch.rand(len(features), *[1] * (features.dim() - 2), features.shape[-1]) >= blur
    kept[..., :STEPS] = True
    return kept


def _drawn(examples: AnonymousExamples, count: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Draw examples, as many from each source: those of a small source come again and again."""
    members = [np.flatnonzero(examples.sources == source) for source in range(len(examples.names))]
    sizes = generator.multinomial(count, np.full(len(members), 1 / len(members)))
    return np.concatenate([generator.choice(held, size) for held, size in zip(members, sizes, strict=True)])
