"""What the commands share that divide work by user: where it is done."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from preloader.learning.parallel import Backend


class BackendChoice(StrEnum):
    """Where work is done."""

    LOKY = "loky"
    DASK = "dask"
    THREADING = "threading"
    SERIAL = "serial"


BackendOption = Annotated[
    BackendChoice | None,
    typer.Option(
        help="Where work that users divide is done, to the same figures: processes of this machine (loky, with --jobs "
        "the default), a cluster (dask, with --scheduler the default), threads, or this process, the default. What "
        "learns from all users in turn is done in this process."
    ),
]
JobsOption = Annotated[int | None, typer.Option(help="How many processes or threads; one a core by default.")]
SchedulerOption = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="The cluster's Dask scheduler, as in tcp://host:8786.")
]


def backend_of(backend: BackendChoice | None, jobs: int | None, scheduler: str | None) -> Backend | None:
    """Return where to do the work; ``None`` where nothing was said.

    Raises:
        ConfigurationError: The options do not fit together.
    """
    if backend is None and jobs is None and scheduler is None:
        return None
    kind = backend or (BackendChoice.DASK if scheduler else BackendChoice.LOKY)
    return Backend(kind.value, jobs, scheduler)
