"""What edits files for the workspace's soak: in this process, or in another one that is told what to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path


def _clear(path: Path) -> None:
    """Make room, whatever stands there."""
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    if path.is_symlink() or path.is_dir():
        _clear(path)
    path.write_text(text)


def _write_in_place(path: Path, text: str) -> None:
    """Write over a file of the same size, and put its times back."""
    status = path.stat()
    with path.open("r+b", buffering=0) as file:
        file.write(text.encode())
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _replace(path: Path, text: str) -> None:
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    new.replace(path)


def _recreate(path: Path, text: str) -> None:
    """Delete a file and make it anew, with the times that it had."""
    status = path.stat()
    path.unlink()
    path.write_text(text)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _truncate(path: Path, size: str) -> None:
    os.truncate(path, int(size))


def _make_directory(path: Path) -> None:
    _clear(path)
    path.mkdir()


def _link(path: Path, target: str) -> None:
    """Put a link there, in one go."""
    new = path.with_name(f"{path.name}.new")
    new.symlink_to(target)
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    new.replace(path)


def _rename(path: Path, target: str) -> None:
    path.rename(target)


EDITS: dict[str, Callable[..., None]] = {
    "write": _write,
    "write in place": _write_in_place,
    "replace": _replace,
    "recreate": _recreate,
    "truncate": _truncate,
    "delete": _clear,
    "make a directory": _make_directory,
    "link": _link,
    "rename": _rename,
}
"""What can be done to a path, by name; what else an edit takes is text."""


class Here:
    """Edits in this process, on whichever thread asks."""

    def do(self, what: str, path: Path, *rest: str) -> None:
        """Edit, and return when it is done."""
        EDITS[what](path, *rest)

    def close(self) -> None:
        """Nothing is held."""


class Elsewhere:
    """Edits in a process of its own."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "benchmarks.soak_hands"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def do(self, what: str, path: Path, *rest: str) -> None:
        """Edit, and return when it is done.

        Raises:
            OSError: It could not be done.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([what, str(path), *rest]), file=self._process.stdin, flush=True)
        if answer := json.loads(self._process.stdout.readline() or '"the process ended"'):
            raise OSError(answer)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def main() -> None:
    """Do what standard input says, a line each; answer nothing, or what went wrong."""
    for line in sys.stdin:
        what, path, *rest = json.loads(line)
        try:
            EDITS[what](Path(path), *rest)
        except OSError as error:
            print(json.dumps(str(error)), flush=True)
        else:
            print('""', flush=True)


if __name__ == "__main__":
    main()
