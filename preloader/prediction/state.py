"""Reads the online predictor's snapshots, believing nothing: what is damaged is refused before it is used."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from preloader.checks import shown
from preloader.errors import BundleError
from preloader.events import Context
from preloader.ndarray import NDArray
from preloader.ports import Snapshot
from preloader.prediction.settings import OnlineSettings

Arrays = dict[str, NDArray[np.generic]]


class State(msgspec.Struct, frozen=True):
    """What a snapshot's meta holds, besides its kind and version."""

    settings: OnlineSettings
    kinds: list[str] | None
    models: list[dict[str, Any]]
    contexts: list[Context]


def read_snapshot(snapshot: Snapshot, predictor: str, version: int) -> State:
    """Return the state that a snapshot's meta describes.

    Raises:
        BundleError: It is of another predictor or version, or damaged.
    """
    meta = snapshot.meta
    if not isinstance(meta, dict) or not isinstance(snapshot.arrays, dict):
        raise BundleError(f"a snapshot is a table and arrays, not {shown(meta)}")
    if meta.get("predictor") != predictor:
        raise BundleError(f"the state is of the predictor {shown(meta.get('predictor'))}, not of {predictor!r}")
    if meta.get("version") != version:
        raise BundleError(
            f"the state has schema version {shown(meta.get('version'))}; this program reads version {version}"
        )
    try:
        return msgspec.convert(meta, State)
    except (msgspec.ValidationError, RecursionError) as error:
        raise BundleError(f"the state of the predictor {predictor!r} is damaged: {error}") from error


def split_arrays(arrays: Arrays, models: int) -> list[Arrays]:
    """Return each model's arrays, from the number that their names begin with.

    Raises:
        ValueError: An array is nobody's, or is none.
    """
    split: list[Arrays] = [{} for _ in range(models)]
    for name, array in arrays.items():
        number, _, rest = name.partition(".")
        if not number.isdecimal() or int(number) >= models or not isinstance(array, np.ndarray):
            raise ValueError(f"{shown(name)} is no array of its {models} models")
        split[int(number)][rest] = array
    return split


def fitting(name: str, array: NDArray[np.generic], like: NDArray[Any], rows: int | None = None) -> None:
    """Check that ``array`` can take the place of ``like``, or of its first ``rows``.

    Raises:
        ValueError: Its type or shape is another, or it holds what is not finite.
    """
    shape = like.shape if rows is None else (rows, *like.shape[1:])
    if array.dtype != like.dtype or array.shape != shape:
        raise ValueError(f"{name} is {array.dtype} of shape {array.shape}, which must be {like.dtype} of {shape}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name} holds what is no number")


def within(name: str, array: NDArray[np.generic], low: float, high: float) -> None:
    """Check that every value is in [low, high].

    Raises:
        ValueError: One is not.
    """
    if array.size and not (low <= array.min() and array.max() <= high):
        raise ValueError(f"{name} holds a value outside {low} to {high}")
