"""What all runs of training have in common: how the rate rises and falls, a step downhill, the mean that is kept."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

Means = dict[str, Tensor]

_STEP_WEIGHTS = (1.0, 0.5, 0.35)
_LARGEST_STEP = 1.0


def weight_of(step: int) -> float:
    """Return what a step ahead counts in the loss, the next item being step 0."""
    return _STEP_WEIGHTS[min(step, len(_STEP_WEIGHTS) - 1)]


def warmth(number: int, steps: int, *, part: int, first: int = 0) -> float:
    """Return the share of the largest learning rate: a linear rise, then half a cosine down to a fiftieth.

    Args:
        number: The number of the step.
        steps: How many there are.
        part: It rises for one of so many parts of them.
        first: The number of the first step.
    """
    rising = max(steps // part, 1)
    if number < rising:
        return (number - first + 1) / rising
    passed = (number - rising) / max(steps - rising, 1)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * passed))


def descend(optimizer: torch.optim.Optimizer, loss: Tensor, rate: float) -> None:
    """Take one step downhill, no longer than is safe."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    moved = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    nn.utils.clip_grad_norm_(moved, _LARGEST_STEP)
    optimizer.step()


def means_of(module: nn.Module) -> Means:
    """Return what the running means of a module's weights begin with: the weights."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def follow(means: Means, module: nn.Module, average: float, taken: int) -> None:
    """Move running means towards a module's weights (Polyak & Juditsky 1992), the first of which soon weigh little.

    Args:
        means: They.
        module: Whose weights.
        average: Their decay in the long run.
        taken: How many steps were taken, from 1.
    """
    decay = min(average, taken / (9 + taken))
    with torch.no_grad():
        for name, value in module.state_dict().items():
            means[name].lerp_(value, 1 - decay)
