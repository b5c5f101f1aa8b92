"""The provider of files."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from preloader.components.blocking import Blocking, make_or_release
from preloader.components.confined import check_name
from preloader.components.contents import DEFAULT_MAX_BYTES, ConfinedFiles, FileContent, Mode, estimated_cost
from preloader.errors import UnknownResourceError
from preloader.ports import Cost, Executor, Loaded

TYPICAL_BYTES = 16_000
"""What a file is taken to occupy before it was first seen: about that of a source file."""

_KNOWN_SIZES = 65_536


class FileProvider(Blocking):
    """Makes files ready: ``file:src/app.py`` is ``src/app.py`` beneath the root, its value a `FileContent`.

    Names are untrusted: what is absolute, goes up, or leads out through a symbolic link is refused, and so is all that
    is not a regular file.

    Args:
        root: The directory that names are relative to.
        mode: ``read`` copies a file into memory; ``mmap`` maps it (see `preloader.components.contents` for its danger).
        max_bytes: Largest file that is loaded.
        kind: Kind of the resources.
        executor: Where blocking calls run; ``None`` takes the manager's.

    Raises:
        ConfigurationError: The root is no directory, or another argument is wrong.
    """

    immutable = False

    def __init__(
        self,
        root: Path | str,
        mode: Mode = "read",
        *,
        max_bytes: int = DEFAULT_MAX_BYTES,
        kind: str = "file",
        executor: Executor | None = None,
    ) -> None:
        super().__init__(executor)
        self.kind = kind
        self.files = ConfinedFiles(root, mode, max_bytes)
        self._sizes: OrderedDict[str, int] = OrderedDict()

    async def load(self, key: str) -> Loaded:
        """Read or map a file.

        Raises:
            UnknownResourceError: There is no such regular file beneath the root.
            LoadError: It is too large, cannot be read, or does not stay the same for as long as reading takes.
        """
        name = self._name(key)
        content = await make_or_release(self.executor, lambda: self.files.load(name), FileContent.close)
        self._remember(key, content.nbytes)
        return Loaded(content, content.nbytes)

    async def unload(self, key: str, value: FileContent) -> None:
        """Give the memory back."""
        if not isinstance(value.data, bytes):
            await self.executor.run(value.close)

    async def is_fresh(self, key: str, value: FileContent) -> bool:
        """Return whether the file still has this content."""
        return await self.executor.run(self.files.is_fresh, self._name(key), value)

    def cost(self, key: str) -> Cost:
        """Return the size when last loaded, or a typical one, without asking the disk.

        Raises:
            UnknownResourceError: The name could not be that of a file beneath the root.
        """
        check_name(self._name(key))
        return estimated_cost(self._sizes.get(key, TYPICAL_BYTES))

    def dependencies(self, key: str) -> Sequence[str]:
        """Return nothing: files require none."""
        return ()

    def _remember(self, key: str, size: int) -> None:
        self._sizes[key] = size
        self._sizes.move_to_end(key)
        if len(self._sizes) > _KNOWN_SIZES:
            self._sizes.popitem(last=False)

    def _name(self, key: str) -> str:
        kind, _, name = key.partition(":")
        if kind != self.kind:
            raise UnknownResourceError(f"{key!r} is not of kind {self.kind!r}, the only one that this provider serves")
        return name
