"""The lock-free hand-off of hints from any thread to the event loop.

`BACKEND` says which implementation is in use. The pure-Python twin is the only one that ships so far.
"""

from preloader.ring.twin import Record, Ring

BACKEND = "python"

__all__ = ["BACKEND", "Record", "Ring"]
