"""Output files that are either complete or not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from preloader.errors import ConfigurationError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a place to write to, which becomes ``path`` only if all goes well.

    Whether it can be written is found out on entering: before hours of work, not after them.

    Raises:
        ConfigurationError: ``path`` cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if path.is_dir():
            raise IsADirectoryError(0, "it is a directory")
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.touch()
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        yield draft
        draft.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        draft.unlink(missing_ok=True)


def _unwritable(path: Path, error: OSError) -> ConfigurationError:
    if isinstance(error, FileExistsError | NotADirectoryError):
        return ConfigurationError(f"{path} cannot be written: {path.parent} is not a directory")
    return ConfigurationError(f"{path} cannot be written: {error.strerror or error}")
