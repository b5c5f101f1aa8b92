"""Checkpoints of a run of training: whole or not there, so that a run that was killed goes on from its last epoch."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from preloader.errors import ConfigurationError
from preloader.learning.trainer import Fit
from preloader.whole_file import write_whole


class _Progress(msgspec.Struct, frozen=True):
    """Where a run was: its fingerprint, how many epochs it had taken, and each one's mean loss."""

    run: str
    epoch: int
    losses: list[float]


class Checkpoint:
    """The checkpoint of one run, in one file.

    Args:
        path: The file.
        run: A fingerprint of all that the run depends on: a checkpoint of another run is not gone on from.
    """

    def __init__(self, path: Path, run: str) -> None:
        self._path = path
        self._run = run

    def save(self, fit: Fit, losses: list[float]) -> None:
        """Write the state after an epoch."""
        progress = msgspec.json.encode(_Progress(self._run, fit.epoch, losses)).decode()
        write_whole(self._path, save(_state(fit), {"progress": progress}))

    def load(self, fit: Fit) -> list[float]:
        """Bring a new run to where the checkpoint is, and return the losses so far; at its start if there is none.

        Raises:
            ConfigurationError: The checkpoint is damaged, or of another run.
        """
        if not self._path.exists():
            return []
        try:
            with safe_open(self._path, framework="pt") as file:
                progress = msgspec.json.decode((file.metadata() or {}).get("progress", ""), type=_Progress)
                if progress.run != self._run:
                    raise ConfigurationError(
                        f"{self._path} is of a run with another recipe, history or seed; train without --resume"
                    )
                _restore(fit, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118  (no mapping)
        except (SafetensorError, msgspec.DecodeError, KeyError, RuntimeError, OSError) as error:
            raise ConfigurationError(f"{self._path} is no checkpoint, or damaged: train without --resume") from error
        fit.epoch = progress.epoch
        return progress.losses


def _state(fit: Fit) -> dict[str, Tensor]:
    held = {f"weights.{name}": value for name, value in fit.learner.state_dict().items()}
    held |= {f"means.{name}": value for name, value in fit.means.items()}
    for number, moments in fit.optimizer.state_dict()["state"].items():
        held |= {f"optimizer.{number}.{name}": value for name, value in moments.items()}
    return {name: value.detach().clone().contiguous() for name, value in held.items()}


def _restore(fit: Fit, tensors: dict[str, Tensor]) -> None:
    fit.learner.load_state_dict(_part(tensors, "weights"))
    fit.means = _part(tensors, "means")
    whole: dict[str, Any] = fit.optimizer.state_dict()
    whole["state"] = {}
    for name, value in _part(tensors, "optimizer").items():
        number, _, moment = name.partition(".")
        whole["state"].setdefault(int(number), {})[moment] = value
    fit.optimizer.load_state_dict(whole)


def _part(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    start = f"{part}."
    return {name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)}


def fingerprint(*parts: Any) -> str:
    """Return what stands for everything that a run depends on."""
    digest = sha256(torch.__version__.encode())
    for part in parts:
        digest.update(msgspec.json.encode(part))
    return digest.hexdigest()
