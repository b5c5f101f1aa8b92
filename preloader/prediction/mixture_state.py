"""Reads the snapshots of mixtures, believing nothing: what is damaged is refused before it is used."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
import numpy as np

from preloader.checks import shown
from preloader.errors import BundleError
from preloader.events import Context
from preloader.ndarray import NDArray
from preloader.ports import Snapshot
from preloader.prediction.mixture_settings import MixtureSettings

Arrays = dict[str, NDArray[np.generic]]
S = TypeVar("S", bound=msgspec.Struct)


class WeightsState(msgspec.Struct, frozen=True):
    """What a mixture has learned, beside arrays.

    Attributes:
        experts: The experts' names.
        horizon: How many items ahead.
        users: For each kind, the users with weights of their own.
    """

    experts: list[str]
    horizon: int
    users: dict[str, list[str]]


class MixtureState(msgspec.Struct, frozen=True):
    """What a snapshot's meta holds, besides its kind and version."""

    kinds: list[str] | None
    settings: MixtureSettings
    weights: WeightsState
    experts: list[dict[str, Any]]
    sessions: list[dict[str, Any]]
    contexts: list[Context]


def read_state(snapshot: Snapshot, predictor: str, version: int, state: type[S]) -> S:
    """Return the state that a snapshot's meta describes.

    Raises:
        BundleError: It is of another predictor or version, or damaged.
    """
    meta, arrays = snapshot.meta, snapshot.arrays
    if not isinstance(meta, dict) or not isinstance(arrays, dict):
        raise BundleError(f"a snapshot is a table and arrays, not {shown(meta)}")
    for field, expected in (("predictor", predictor), ("version", version)):
        if meta.get(field) != expected:
            raise BundleError(f"the state's {field} is {shown(meta.get(field))}; {expected!r} is needed")
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise BundleError(f"the state of the predictor {predictor!r} holds what is no array")
    try:
        return msgspec.convert(meta, state)
    except (msgspec.ValidationError, RecursionError, ValueError) as error:
        raise BundleError(f"the state of the predictor {predictor!r} is damaged: {error}") from error


def under(arrays: Arrays, name: str) -> Arrays:
    """Return the arrays whose names begin with ``name`` and a dot, without these."""
    start = name + "."
    return {key.removeprefix(start): array for key, array in arrays.items() if key.startswith(start)}
