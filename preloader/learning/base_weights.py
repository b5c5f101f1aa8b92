"""The weights with which a bundle's network goes on being trained: believed only where they fit the bundle's state."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from preloader.checks import shown
from preloader.errors import BundleError
from preloader.learning.base import Base
from preloader.learning.network import SequenceNetwork
from preloader.learning.settings import NetworkSettings
from preloader.prediction.sequence import SequenceSpec

_NETWORK = "network."
_USERS = "users.weight"
_WIDTHS = {
    "width": f"{_NETWORK}keys.weight",
    "hidden": f"{_NETWORK}recurrent.weight_hh_l0",
    "word_width": f"{_NETWORK}words.weight",
    "user_width": _USERS,
}
"""The tensors whose second dimension tells a network's sizes."""


def encode_weights(base: Base) -> bytes:
    """Return a network's weights, its users' vectors and the stranger's, as training keeps them."""
    users = torch.from_numpy(np.pad(base.users.vectors, ((0, 1), (0, 0))))
    weights = {_NETWORK + name: value for name, value in base.network.state_dict().items()}
    return save({**weights, _USERS: users})


def decode_network(data: bytes, spec: SequenceSpec) -> SequenceNetwork:
    """Return the network whose weights these are.

    Args:
        data: A safetensors file's content.
        spec: What the network was made for.

    Raises:
        BundleError: It is damaged, or of a network with other sizes than the spec or any recipe allows.
    """
    try:
        held = load(data)
    except (SafetensorError, ValueError) as error:
        raise BundleError(f"it is damaged: {error}") from error
    settings = _settings(held)
    weights = {name.removeprefix(_NETWORK): value for name, value in held.items() if name.startswith(_NETWORK)}
    with torch.device("meta"):  # nothing is laid out before it is known to be no larger than the file
        expected = SequenceNetwork(len(spec.vocabulary), spec.horizon, spec.features, settings).state_dict()
    for name in sorted({*weights, *expected}):
        found, right = (tuple(one[name].shape) if name in one else None for one in (weights, expected))
        if found != right:
            raise BundleError(f"tensor {shown(name)} has shape {found}, not {right} as the bundle's state demands")
        if weights[name].dtype != torch.float32 or not bool(weights[name].isfinite().all()):
            raise BundleError(f"tensor {shown(name)} holds other numbers than finite 32-bit ones")
    network = SequenceNetwork(len(spec.vocabulary), spec.horizon, spec.features, settings)
    network.load_state_dict(weights)
    return network.eval()


def _settings(held: Mapping[str, Tensor]) -> NetworkSettings:
    sizes: dict[str, int | bool] = {part: f"{_NETWORK}{part}.weight" in held for part in ("direct", "wide")}
    for size, name in _WIDTHS.items():
        if name not in held or held[name].dim() != 2:
            raise BundleError(f"it has no table {name!r}, which would tell the network's {size}")
        sizes[size] = held[name].shape[1]
    try:
        return msgspec.convert(sizes, NetworkSettings)
    except msgspec.ValidationError as error:
        raise BundleError(f"no network has such a size: {error}") from error
