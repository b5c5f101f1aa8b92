"""Where ``preloader personalise`` may write, and what it clears away there of a user who keeps the base."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from preloader.errors import BundleError, ConfigurationError
from preloader.prediction import load_bundle
from preloader.prediction.bundle_files import MANIFEST


def bundle_of(out: Path, user: str) -> Path:
    """Return where a user's own bundle is written."""
    from preloader.learning.adapter_files import SUFFIX, file_name

    return out / file_name(user).removesuffix(SUFFIX)


def check_out(out: Path, base: Path, users: Iterable[str]) -> None:
    """Refuse a directory that is, or lies within, a bundle, or where a bundle stands that is not of this making.

    Args:
        out: The directory for adapters and personal bundles.
        base: The bundle that is built on.
        users: Whose bundles may be written.

    Raises:
        ConfigurationError: Something would be destroyed.
    """
    for place in (out.resolve(), *out.resolve().parents):
        if place == base.resolve() or (place / MANIFEST).exists():
            what = "the base itself" if place == base.resolve() else f"the bundle {place}"
            raise ConfigurationError(f"--out {out} would write into {what}: name a directory of its own")
    for place in (bundle_of(out, user) for user in users):
        if place.resolve() == base.resolve():
            raise ConfigurationError(f"--out {out} would replace the base, {base}: name another directory")
        if place.exists() and not _is_personal(place):
            raise ConfigurationError(
                f"--out {out} would replace {place}, which no run of personalise made: name another directory"
            )


def remove_adapter(folder: Path, user: str) -> None:
    """Remove a user's adapter of an earlier run, if there is one.

    Raises:
        BundleError: It cannot be removed.
    """
    from preloader.learning.adapter_files import file_name

    path = folder / file_name(user)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise BundleError(f"{path} cannot be removed: {error.strerror or error}") from error


def remove_bundle(out: Path, user: str) -> None:
    """Remove a user's bundle of an earlier run, if there is one; `check_out` has seen that it is one.

    Raises:
        BundleError: It cannot be removed.
    """
    path = bundle_of(out, user)
    try:
        if path.exists():
            shutil.rmtree(path)
    except OSError as error:
        raise BundleError(f"{path} cannot be removed: {error.strerror or error}") from error


def _is_personal(place: Path) -> bool:
    from preloader.learning.personal_card import OWN_HISTORY

    try:
        facts = load_bundle(place).manifest.facts
    except BundleError:
        return False
    return facts is not None and any(source.name == OWN_HISTORY for source in facts.sources)
