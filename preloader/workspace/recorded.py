"""What recorded sessions of one repository hold together: the files that they named, and what they taught."""

from __future__ import annotations

from preloader.workspace.learn.calls import taught as teach_calls
from preloader.workspace.learn.fitting import Known
from preloader.workspace.learn.items import Recording
from preloader.workspace.learn.memory import SessionMemory


class Recorded:
    """Looks through sessions in the order of their start.

    Attributes:
        files: All that looked like a file of the repository in their calls and outputs, in the order they came.
        known: What the sessions taught that were looked through as earlier ones.
    """

    def __init__(self) -> None:
        self.files: dict[str, None] = {}
        self.known = Known()

    def look(self, recording: Recording, *, is_earlier: bool) -> None:
        """Look through a session.

        Args:
            recording: It.
            is_earlier: Whether it teaches, too: it is not among those to be replayed.
        """
        memory = SessionMemory(recording.repository, self.known.files)
        for item in recording.items:
            memory.feed(item)
        book = memory.book
        self.files |= dict.fromkeys(path for path, facts in zip(book.paths, book.facts, strict=True) if facts.is_file)
        if is_earlier:
            memory.taught(self.known.files)
            teach_calls(recording.items, self.known.calls)
