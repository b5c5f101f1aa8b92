"""Fits a network to examples: epochs of mini-batches, checkpoints, and a run that goes on where it was killed.

Every epoch draws its order and its dropout from a generator of its own, seeded by the run's seed and its number. So a
run that is resumed after an epoch takes exactly the steps that an uninterrupted one would have taken.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from preloader.learning.aligned import aligned
from preloader.learning.descent import descend, follow, means_of, warmth, weight_of
from preloader.learning.examples import NOTHING, UNKNOWN, Examples, ExampleSet
from preloader.learning.network import SENTENCE, AnyNetwork, AveragedNetwork, SequenceNetwork
from preloader.learning.settings import TrainingSettings

_RISING_PART = 10  # the learning rate rises for a tenth of the steps


class Learner(nn.Module):
    """A network and what only training needs of it: the users' vectors, and running means of all weights.

    Args:
        network: It.
        users: How many users are told apart.
    """

    def __init__(self, network: AnyNetwork, users: int) -> None:
        super().__init__()
        self.network = network
        self.users = nn.Embedding(users + 1, network.user_width, padding_idx=users)
        nn.init.normal_(self.users.weight, std=0.1)
        nn.init.zeros_(self.users.weight[users])

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return what the network says of a batch that holds ``users`` in place of their vectors."""
        vectors = self.users(batch["users"])
        words = batch["word_weights"]
        if self.training:
            settings = self.network.settings
            vectors = vectors * (torch.rand(len(vectors), 1) >= settings.user_dropout)
            words = words * (torch.rand_like(words) >= settings.word_dropout)
        given = {**batch, "user": vectors, "word_weights": words}
        if SENTENCE in batch and self.training:  # whole, as where a text has not been encoded yet
            given[SENTENCE] = batch[SENTENCE] * (torch.rand(len(vectors), 1) >= self.network.settings.word_dropout)
        said: tuple[Tensor, Tensor] = self.network(*(given[name] for name in self.network.inputs))
        return said


class Fit:
    """One run of training, epoch by epoch.

    Args:
        learner: What is fitted.
        examples: What it is fitted to.
        settings: How.
    """

    def __init__(self, learner: Learner, examples: ExampleSet, settings: TrainingSettings) -> None:
        self.learner = learner
        self.settings = settings
        self.epoch = 0
        self.means = means_of(learner)
        self._examples = examples
        self._steps_an_epoch = math.ceil(len(examples) / settings.batch)
        self.optimizer = torch.optim.AdamW(learner.parameters(), lr=settings.rate, weight_decay=settings.weight_decay)

    def run_epoch(self) -> float:
        """Take one epoch, and return its mean loss."""
        torch.manual_seed(self.settings.seed * 1_000_003 + self.epoch)
        self.learner.train()
        order = torch.randperm(len(self._examples)).numpy()
        total = 0.0
        for number in range(self._steps_an_epoch):
            chosen = order[number * self.settings.batch : (number + 1) * self.settings.batch]
            total += self._step(chosen, self.epoch * self._steps_an_epoch + number) * len(chosen)
        self.epoch += 1
        return total / max(len(self._examples), 1)

    def finish(self) -> Learner:
        """Return the learner with the running means of its weights."""
        self.learner.load_state_dict(self.means)
        return self.learner.eval()

    def _step(self, chosen: np.ndarray, number: int) -> float:
        rate = self.settings.rate * warmth(number, self.settings.epochs * self._steps_an_epoch, part=_RISING_PART)
        loss = loss_of(self.learner, self._examples, chosen, self.settings)
        descend(self.optimizer, loss, rate)
        follow(self.means, self.learner, self.settings.average, number + 1)
        return float(loss.detach())


def averaged(learners: Sequence[Learner]) -> Learner:
    """Return several learners as one, which says their mean; a single one as it is."""
    networks = [learner.network for learner in learners if isinstance(learner.network, SequenceNetwork)]
    if len(networks) == 1:
        return learners[0]
    joined = Learner(AveragedNetwork(networks), learners[0].users.num_embeddings - 1)
    with torch.no_grad():
        joined.users.weight.copy_(torch.cat([learner.users.weight for learner in learners], dim=1))
    return joined.eval()


def batch_of(examples: ExampleSet, chosen: np.ndarray) -> dict[str, Tensor]:
    """Return the features of some examples, and ``users``, as tensors."""
    return _inputs(examples.take(chosen))


def _inputs(batch: Examples) -> dict[str, Tensor]:
    arrays = {name: aligned(array) for name, array in batch.arrays.items()}
    return {**arrays, "users": aligned(batch.users)}


def loss_of(learner: Learner, examples: ExampleSet, chosen: np.ndarray, settings: TrainingSettings) -> Tensor:
    """Return the weighted loss of some examples."""
    batch = examples.take(chosen)
    told, uses = learner(_inputs(batch))  # (batch, steps, 1 + V), (batch, 2, 1 + V)
    labels = aligned(batch.labels)  # (batch, steps)
    weights = aligned(batch.weights)  # (batch,)
    loss = torch.zeros(())
    for step in range(labels.shape[1]):
        came = labels[:, step] != NOTHING
        losses = functional.cross_entropy(
            told[:, step], labels[:, step], ignore_index=NOTHING, reduction="none", label_smoothing=settings.smoothing
        )
        mean = (losses * weights * came).sum() / (weights * came).sum().clamp(min=1e-6)
        share = settings.later_weight if step else 1.0
        loss = loss + share * weight_of(step) * mean
    return loss + settings.use_weight * _loss_of_uses(uses, aligned(batch.uses))


def _loss_of_uses(odds: Tensor, used: Tensor) -> Tensor:
    """Return the mean, over examples, of the summed losses of all keys: most are as surely unused as they are many."""
    known = used != UNKNOWN
    losses = functional.binary_cross_entropy_with_logits(odds, (used == 1).float(), reduction="none")
    return (losses * known).sum() / len(odds) / 10
