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

    Raises:
        ConfigurationError: ``path`` cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield draft
        draft.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        draft.unlink(missing_ok=True)
