"""The lock-free hand-off of records from any thread or process to whoever takes them.

`BACKEND` says which implementation is in use: ``"c"`` or, where the compiled one is missing, ``"python"``, its twin in
`preloader.ring.twin`. ``PRELOADER_RING=python`` in the environment chooses the twin on purpose.
"""

from typing import TYPE_CHECKING

from preloader.ring.backend import choose
from preloader.ring.reader import Reader
from preloader.ring.record import DTYPE, Record

if TYPE_CHECKING:  # both have the twin's interface
    from preloader.ring.twin import Ring

    BACKEND: str
else:
    Ring, BACKEND = choose()

__all__ = ["BACKEND", "DTYPE", "Reader", "Record", "Ring"]
