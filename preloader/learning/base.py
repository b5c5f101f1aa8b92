"""The base of personalisation: a sequence network with all that belongs to it, and room for a user's own keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256

import msgspec
import numpy as np
import torch
from torch import Tensor

from preloader.learning.network import INPUTS, OUTPUTS, SequenceNetwork
from preloader.ndarray import NDArray
from preloader.prediction.features import OUTSIDE, Features
from preloader.prediction.sequence import SequencePredictor, SequenceSpec
from preloader.prediction.users import UserVectors


class Base(msgspec.Struct, frozen=True, eq=False):
    """A network that was trained on many users, for one kind of item.

    Attributes:
        network: It; never changed here.
        spec: What it was made for.
        users: The users who have a vector of their own.
    """

    network: SequenceNetwork
    spec: SequenceSpec
    users: UserVectors

    @property
    def features(self) -> Features:
        """What the network sees."""
        return Features(self.spec.kind, self.spec.vocabulary, self.spec.features)

    @property
    def digest(self) -> str:
        """The SHA-256 of all that an adapter depends on: weights, vocabulary and features."""
        digest = sha256(msgspec.json.encode((self.spec.kind, self.spec.vocabulary, self.spec.features)))
        for name, weight in sorted(self.network.state_dict().items()):
            digest.update(f"{name} {tuple(weight.shape)}".encode())
            digest.update(weight.detach().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def predictor(self) -> SequencePredictor:
        """Return a new predictor that runs the network in torch, as it is, without an export."""
        users = UserVectors(self.users.names, self.users.vectors, self.users.profiles)
        return SequencePredictor(self.spec, TorchRuntime(self.network), users, self.digest)

    def widened(self, keys: Sequence[str]) -> Base:
        """Return a copy whose vocabulary holds further keys.

        Each begins as "a key outside the vocabulary", of which it was one: the network has learned when those come.
        """
        spec = msgspec.structs.replace(self.spec, vocabulary=[*self.spec.vocabulary, *keys])
        room = ((0, 0), (0, len(keys)))
        users = UserVectors(self.users.names, self.users.vectors, np.pad(self.users.profiles, room))
        return Base(_widened(self.network, len(keys)), spec, users)


class TorchRuntime:
    """Runs a network where it was trained; see `Runtime`.

    Args:
        network: It.
    """

    name = "torch"
    inputs: tuple[str, ...] = INPUTS

    def __init__(self, network: SequenceNetwork) -> None:
        self._network = network.eval()

    def run(self, inputs: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """See `Runtime.run`."""
        with torch.no_grad():
            said = self._network(*(torch.from_numpy(inputs[name]) for name in INPUTS))
        return {name: tensor.numpy() for name, tensor in zip(OUTPUTS, said, strict=True)}


def _widened(network: SequenceNetwork, more: int) -> SequenceNetwork:
    """Return a copy of a network with room for ``more`` keys, after those that it has; each is a copy of `OUTSIDE`."""
    wide = SequenceNetwork(network.vocabulary + more, network.steps, network.features, network.settings)
    end = network.vocabulary + 1
    shapes = {name: value.shape for name, value in wide.state_dict().items()}
    weights = {name: _with_copies(value, shapes[name], end, more) for name, value in network.state_dict().items()}
    wide.load_state_dict(weights)
    return wide.eval()


def _with_copies(value: Tensor, shape: torch.Size, end: int, more: int) -> Tensor:
    """Return a tensor of the wider shape; the dimension in which it is wider is that of the keys."""
    axes = [axis for axis, (old, new) in enumerate(zip(value.shape, shape, strict=True)) if old != new]
    for axis in axes:
        rows = [*range(end), *[OUTSIDE] * more, *range(end, value.shape[axis])]
        value = value.index_select(axis, torch.tensor(rows))
    return value
