"""Adapters: what makes a base network one user's own, as small matrices beside it (LoRA, Hu et al., ICLR 2022).

An adapter holds, as differences to the base: low-rank updates of the layers in `LAYERS` and of the recurrent layer, the
heads' biases, the embeddings of keys that the base had no number for, and the user's vector. The embeddings of the
base's own keys stay as they are: heads and input share them, and peft adapts a layer's call, not its weight.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Annotated

import msgspec
import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor

from preloader.learning.base import Base
from preloader.learning.network import SequenceNetwork
from preloader.ndarray import NDArray
from preloader.prediction.manifest import Sha256
from preloader.prediction.sequence import MAX_VOCABULARY
from preloader.prediction.users import UserVectors

LAYERS = ("pieces", "flags", "join.1", "deepen.1", "turn")
RECURRENT = ("recurrent.weight_ih_l0", "recurrent.weight_hh_l0")
MAX_RANK = 64

BIAS, KEYS, USER = "bias", "keys", "user"
_PREFIX = "base_model.model."  # peft's, of every name


class AdapterInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an adapter is.

    Attributes:
        user: Whose it is.
        kind: The kind of items that its base predicts.
        base: The base's `Base.digest`: it fits no other.
        rank: Of its low-rank updates.
        keys: The keys that it adds to the base's vocabulary.
        sessions: Hashes of the sessions that it learned from (`session_hash`), sorted: none may be tested on.
    """

    user: str
    kind: str
    base: Sha256
    rank: Annotated[int, msgspec.Meta(ge=1, le=MAX_RANK)]
    keys: Annotated[list[str], msgspec.Meta(max_length=MAX_VOCABULARY)] = []
    sessions: list[str] = []


class Adapter(msgspec.Struct, frozen=True, eq=False):
    """One user's difference to a base.

    Attributes:
        info: What it is.
        tensors: The differences, by name, float32.
    """

    info: AdapterInfo
    tensors: Mapping[str, Tensor]

    @property
    def vector(self) -> NDArray[np.float32]:
        """The user's vector, shape (user width,)."""
        vector: NDArray[np.float32] = self.tensors[USER].numpy()
        return vector

    def shrunk(self, share: float, start: NDArray[np.float32]) -> Adapter:
        """Return a share of the difference, 0 to 1; new keys keep what they learned, having nothing to go back to.

        Args:
            share: How much of it.
            start: The user's vector before; see `starting_vector`.
        """
        shrunk = {name: value * share if _is_factor(name) else value for name, value in self.tensors.items()}
        known = self.tensors[BIAS].shape[1] - len(self.info.keys)
        shrunk[BIAS] = self.tensors[BIAS].clone()  # (heads, 1 + V)
        shrunk[BIAS][:, :known] *= share
        shrunk[USER] = torch.from_numpy(start).lerp(self.tensors[USER], share)
        return Adapter(self.info, shrunk)

    def personal(self, base: Base) -> Base:
        """Return a new base with everything merged, which serves this adapter's user alone."""
        wide = base.widened(self.info.keys)
        spec = msgspec.structs.replace(wide.spec, users=[self.info.user])
        nothing = np.zeros((1, len(spec.vocabulary) + 1), np.float32)  # nobody is to be told by being like this user
        return Base(_merged(wide.network, self), spec, UserVectors(spec.users, self.vector[None, :], nothing))


def injected(network: SequenceNetwork, rank: int) -> PeftModel:
    """Return a copy of a network with low-rank updates, zero as yet, which alone can be trained."""
    config = LoraConfig(r=rank, lora_alpha=rank, target_modules=list(LAYERS), target_parameters=list(RECURRENT))
    return get_peft_model(copy.deepcopy(network), config)


def extracted(model: PeftModel, wide: Base, vector: Tensor, info: AdapterInfo) -> Adapter:
    """Return what training made of an `injected` network.

    Args:
        model: The network.
        wide: The base with room for the adapter's keys, which was injected into.
        vector: The user's vector.
        info: What the adapter is.
    """
    weights, before = model.get_base_model().state_dict(), wide.network.state_dict()
    tensors = {name.removeprefix(_PREFIX): value for name, value in get_peft_model_state_dict(model).items()}
    tensors[BIAS] = weights["bias"] - before["bias"]
    tensors[KEYS] = (weights["keys.weight"] - before["keys.weight"])[new_rows(wide.network, len(info.keys))]
    tensors[USER] = vector
    return Adapter(info, {name: value.detach().clone().contiguous() for name, value in tensors.items()})


def shapes(base: Base, info: AdapterInfo) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor that an adapter of a base must have."""
    wide = base.widened(info.keys)
    blank = extracted(injected(wide.network, info.rank), wide, torch.zeros(base.network.settings.user_width), info)
    return {name: tuple(value.shape) for name, value in blank.tensors.items()}


def new_rows(network: SequenceNetwork, count: int) -> slice:
    """Return where the latest ``count`` keys of a vocabulary are in the table of keys."""
    end = network.vocabulary + 1
    return slice(end - count, end)


def _merged(wide: SequenceNetwork, adapter: Adapter) -> SequenceNetwork:
    model = injected(wide, adapter.info.rank)
    low_rank = {name: value for name, value in adapter.tensors.items() if name not in (BIAS, KEYS, USER)}
    set_peft_model_state_dict(model, {_PREFIX + name: value for name, value in low_rank.items()})
    weights = model.merge_and_unload().state_dict()
    weights["bias"] = weights["bias"] + adapter.tensors[BIAS]
    weights["keys.weight"] = weights["keys.weight"].clone()
    weights["keys.weight"][new_rows(wide, len(adapter.info.keys))] += adapter.tensors[KEYS]
    network = SequenceNetwork(wide.vocabulary, wide.steps, wide.features, wide.settings)
    network.load_state_dict(weights)
    return network.eval()


def _is_factor(name: str) -> bool:
    """Return whether a tensor is the second factor of a low-rank update: what scales the whole update."""
    return "lora_B" in name or "lora_embedding_B" in name
