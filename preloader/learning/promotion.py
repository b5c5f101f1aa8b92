"""Puts a bundle into service in place of another, which is kept: all of it or nothing, whenever the process is killed.

Two renames do it. Between them the old bundle stands where `load_bundle` looks for it, too, so that there is no moment
without a bundle in service.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from preloader.errors import BundleError
from preloader.prediction.bundle_files import aside_of, sync


def previous_of(service: Path) -> Path:
    """Return where the bundle is kept that was in service before."""
    return service.with_name(f"{service.name}.previous")


def promote(candidate: Path, service: Path) -> None:
    """Put a candidate into service; what was there is kept, and what was kept before is removed.

    Args:
        candidate: A whole bundle, on the same file system as ``service``.
        service: Where the bundle in service is, if there is one.

    Raises:
        BundleError: It cannot be done; what was in service still is.
    """
    try:
        settle(service)
        _exchange(candidate, service)
    except OSError as error:
        raise BundleError(f"{service} cannot be replaced: {error.strerror or error}") from error


def roll_back(service: Path) -> None:
    """Put the previous bundle back into service, and keep the one that was there as the previous.

    Raises:
        BundleError: There is none, or it cannot be done.
    """
    try:
        settle(service)
        if not previous_of(service).is_dir():
            raise BundleError(f"{service} has no previous bundle, {previous_of(service).name}: nothing to go back to")
        _exchange(previous_of(service), service)
    except OSError as error:
        raise BundleError(f"{service} cannot be rolled back: {error.strerror or error}") from error


def settle(service: Path) -> None:
    """Finish, or undo, what a killed process left between two renames.

    Raises:
        OSError: It cannot be done.
    """
    aside, previous = aside_of(service), previous_of(service)
    if not aside.exists():
        return
    if not service.exists():
        aside.rename(service)
    else:
        shutil.rmtree(previous, ignore_errors=True)
        aside.rename(previous)
    sync(service.parent)


def _exchange(other: Path, service: Path) -> None:
    if service.exists():
        service.rename(aside_of(service))
    other.rename(service)
    sync(service.parent)
    settle(service)
