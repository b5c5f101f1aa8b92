"""Opens a bundle for service: whatever is wrong with it is said in one sentence, before anybody relies on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

from preloader.errors import BundleError
from preloader.events import Context
from preloader.ports import Executor, Predictor
from preloader.prediction.bundle import load_bundle

T = TypeVar("T")


def open_predictor(path: Path | str, kinds: Collection[str] | None = None, steps: int = 3) -> Predictor:
    """Return a bundle's predictor; see `open_with_digest`."""
    return open_with_digest(path, kinds, steps)[0]


def open_with_digest(path: Path | str, kinds: Collection[str] | None = None, steps: int = 3) -> tuple[Predictor, str]:
    """Load a bundle; return its predictor, asked once, and its digest. Reads files and computes: for a thread.

    Args:
        path: The bundle.
        kinds: The kinds that it will be asked for; any if not given.
        steps: How many items ahead it will be asked for.

    Raises:
        BundleError: The bundle is missing, damaged, tampered with, of another version, lacks an extra that it needs,
            predicts none of ``kinds``, or does not look ``steps`` ahead.
    """
    try:
        bundle = load_bundle(path)
        predicted = bundle.manifest.kinds
        if predicted is not None and kinds is not None and not set(predicted) & set(kinds):
            raise BundleError(f"{path} predicts {', '.join(predicted)}, and what is wanted is {', '.join(kinds)}")
        predictor = bundle.predictor()
        predictor.predict(Context(), steps)
    except BundleError:
        raise
    except Exception as error:  # of a model's runtime, say, whose errors are its own
        reason = " ".join(str(error).split()) or repr(error)
        raise BundleError(f"{path} cannot be used: {reason}") from error
    return predictor, bundle.digest


class LimitedExecutor:
    """Opens bundles where another executor does, and gives up one that takes too long.

    A network may be written so that it computes for days, and a thread cannot be stopped: it is left behind.

    Args:
        executor: The other one; its owner closes it.
        timeout_s: After how long a bundle is given up.
    """

    def __init__(self, executor: Executor, timeout_s: float) -> None:
        self._executor = executor
        self._timeout_s = timeout_s

    async def run(self, function: Callable[..., T], *args: Any) -> T:
        """Return ``function(*args)``; see `preloader.ports.Executor`.

        Raises:
            BundleError: It took too long; the message names the first argument, which is the bundle.
        """
        try:
            async with asyncio.timeout(self._timeout_s) as limit:
                return await self._executor.run(function, *args)
        except TimeoutError as error:
            if not limit.expired():
                raise
            seconds = f"{self._timeout_s:g} s, which is Settings.bundle_timeout_s"
            raise BundleError(f"{args[0]} was given up: it was not open and did not answer within {seconds}") from error

    async def aclose(self) -> None:
        """Do nothing: the other one's owner closes it."""
