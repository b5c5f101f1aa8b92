"""The files of a workspace as resources: what an agent reads, ready before it asks, and served only while it is true.

When a loaded file is fresh is decided by `preloader.components.contents`, as for any other file. What is added here:
which paths may be read (`preloader.workspace.paths`), how a text is to be decoded, and that large and binary files are
kept by their head alone, marked so.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from io import BufferedReader

from preloader.checks import is_whole, shown
from preloader.components.contents import ConfinedFiles, FileContent, Stamp, estimated_cost
from preloader.components.files import TYPICAL_BYTES, FileProvider
from preloader.errors import ConfigurationError, RefusedPathError, UnknownResourceError
from preloader.ports import Cost, Executor
from preloader.workspace.paths import Confined
from preloader.workspace.text import SNIFFED_BYTES, decoded, encoding_of, is_binary

DEFAULT_WHOLE_BYTES = 2_000_000
DEFAULT_HEAD_BYTES = 65_536


class SourceFile(FileContent):
    """The value of a ``file`` resource: a version of a file, or its head.

    Attributes:
        data: The content, or the head of it where `truncated`.
        stamp: Which version of the file it is.
        settled: Whether an equal stamp proves an equal content.
        path: Its path, relative to the workspace.
        hash: SHA-256 of `data`, in hexadecimal.
        encoding: How `text` decodes it; empty where it is `binary`.
        binary: Whether it is no text.
    """

    __slots__ = ("binary", "encoding", "hash", "path")
    data: bytes

    def __init__(self, path: str, data: bytes, stamp: Stamp, *, settled: bool) -> None:
        super().__init__(data, stamp, settled=settled)
        self.path = path
        self.hash = hashlib.sha256(data).hexdigest()
        self.binary = is_binary(data[:SNIFFED_BYTES])
        self.encoding = "" if self.binary else encoding_of(data, whole=not self.truncated)

    @property
    def truncated(self) -> bool:
        """Whether this is the head alone, the file being large or binary."""
        return len(self.data) < self.stamp.size

    @property
    def size(self) -> int:
        """How many bytes the whole file has."""
        return self.stamp.size

    @property
    def mtime_ns(self) -> int:
        """When it was last modified, in nanoseconds since 1970."""
        return self.stamp.mtime_ns

    @property
    def nbytes(self) -> int:
        """What it occupies."""
        return len(self.data)

    @property
    def text(self) -> str:
        """The text, decoded anew each time.

        Raises:
            UnknownResourceError: It is binary.
        """
        if self.binary:
            raise UnknownResourceError(f"{self.path!r} is no text: its bytes are in data")
        return decoded(self.data, self.encoding, whole=not self.truncated)


class SourceFiles(ConfinedFiles):
    """Loads files of a workspace, large and binary ones by their head. Its methods block.

    Args:
        confined: Which files may be read.
        whole_bytes: Up to which size a text is loaded whole.
        head_bytes: How much is loaded of others.
    """

    def __init__(
        self, confined: Confined, *, whole_bytes: int = DEFAULT_WHOLE_BYTES, head_bytes: int = DEFAULT_HEAD_BYTES
    ) -> None:
        for name, value in (("whole_bytes", whole_bytes), ("head_bytes", head_bytes)):
            if not is_whole(value, 1):
                raise ConfigurationError(f"{name} must be a whole number of at least 1, not {shown(value)}", field=name)
        super().__init__(confined.root)
        self.confined = confined
        self._whole_bytes = whole_bytes
        self._head_bytes = head_bytes

    def open(self, name: str) -> int:
        """Open a file and return its descriptor, which the caller closes; see `Confined.open`."""
        return self.confined.open(name)

    def load(self, name: str) -> SourceFile:
        """Return a file as it is now.

        Raises:
            RefusedPathError: It may not be looked at.
            UnknownResourceError: There is no such regular file.
            LoadError: It cannot be read, or does not stay the same for as long as reading takes.
        """
        loaded = super().load(name)
        assert isinstance(loaded, SourceFile)
        return loaded

    def read(self, descriptor: int, name: str) -> FileContent | None:
        """Return what an open file holds, without what only readers of it need; it is closed.

        Nothing where it does not stay the same meanwhile.

        Raises:
            OSError: It cannot be read.
        """
        now_ns = self._now_ns()
        with os.fdopen(descriptor, "rb") as file:
            stamp = Stamp.of(file.fileno())
            data = self._taken(file, stamp, name)
            if data is None or Stamp.of(file.fileno()) != stamp:
                return None
            return FileContent(data, stamp, settled=stamp.has_settled(now_ns))

    def _taken(self, file: BufferedReader, stamp: Stamp, name: str) -> bytes | None:
        data = file.read(min(stamp.size, SNIFFED_BYTES))
        is_whole_ = stamp.size <= self._whole_bytes and not is_binary(data)
        wanted = stamp.size if is_whole_ else min(stamp.size, self._head_bytes)
        data = data[:wanted] + file.read(max(0, wanted - len(data)))
        return data if len(data) == wanted else None

    def _content(self, name: str, data: bytes | mmap.mmap, stamp: Stamp, *, settled: bool) -> SourceFile:
        assert isinstance(data, bytes)
        return SourceFile(name, data, stamp, settled=settled)


class WorkspaceFiles(FileProvider):
    """Makes the files of a workspace ready: ``file:src/app.py``, its value a `SourceFile`.

    A key holds the path as `Confined.check` returns it; another spelling is refused, since it would be loaded twice.

    Args:
        confined: Which files may be read.
        whole_bytes: Up to which size a text is loaded whole.
        head_bytes: How much is loaded of larger and of binary files.
        executor: Where blocking calls run; ``None`` takes the manager's.

    Raises:
        ConfigurationError: A number of bytes is wrong.
    """

    def __init__(
        self,
        confined: Confined,
        *,
        whole_bytes: int = DEFAULT_WHOLE_BYTES,
        head_bytes: int = DEFAULT_HEAD_BYTES,
        executor: Executor | None = None,
    ) -> None:
        super().__init__(confined.root, executor=executor)
        self.files: SourceFiles = SourceFiles(confined, whole_bytes=whole_bytes, head_bytes=head_bytes)
        self._most = max(whole_bytes, head_bytes)

    def cost(self, key: str) -> Cost:
        """Return the size when last loaded, or a typical one, without asking the disk.

        Raises:
            RefusedPathError: The path may not be looked at.
        """
        self._name(key)
        return estimated_cost(min(self._sizes.get(key, TYPICAL_BYTES), self._most))

    def _name(self, key: str) -> str:
        name = super()._name(key)
        path = str(self.files.confined.check(name))
        if path != name:
            raise RefusedPathError(f"the path {shown(name)} is refused: as a key it is spelled {path!r}")
        return name
