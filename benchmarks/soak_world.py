"""The files of the workspace's soak, what happens to them, and a log of all that each of them was.

A read that races an edit may be served what the file was before or after it, and nothing else: some state that the file
was in between the moment of the question and that of the answer. So every edit announces the states that it will lead
through before it begins, and says when it is done. What may be served is the last state that was certainly reached when
the question was put, and all that were announced since.
"""

from __future__ import annotations

import os
import random
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

State = bytes | None
"""What a place is at one moment; ``None`` where no file can be read."""

_REMEMBERED = 1_000  # states of each place: more than it goes through while a question is answered


class Hands(Protocol):
    """What edits files; see `benchmarks.soak_hands`."""

    def do(self, what: str, path: Path, *rest: str) -> None:
        """Edit, and return when it is done."""

    def close(self) -> None:
        """Let go of what is held."""


class Place:
    """A path at which there is now this, now that. One thread changes it, the loop reads its log.

    Attributes:
        name: The path, relative to the workspace.
        reached: The number of the latest state that it has certainly reached.
        is_link: Whether it is a link, which walks leave out.
    """

    def __init__(self, root: Path, name: str, state: State, *, is_link: bool = False) -> None:
        self.name = name
        self.is_link = is_link
        self.path = root / name
        self.reached = 0
        self._log: tuple[int, list[State]] = (0, [state])  # the first one's number; replaced as a whole

    def becomes(self, *states: State) -> None:
        """Announce what it is about to go through."""
        first, log = self._log
        if len(log) >= 2 * _REMEMBERED:
            first, log = first + len(log) - _REMEMBERED, log[-_REMEMBERED:]  # a copy: the loop may read the other
        log += states
        self._log = first, log

    def became(self) -> None:
        """Note that it is what was announced."""
        first, log = self._log
        self.reached = first + len(log) - 1

    def since(self, reached: int) -> list[State]:
        """Return all that it may have been since it had reached a state."""
        first, log = self._log
        return log[max(0, reached - first) :]

    @property
    def now(self) -> State:
        """What it is, or is becoming."""
        return self._log[1][-1]


class Scene(Protocol):
    """A part of the workspace that changes by itself; `edit` is called by one thread alone."""

    counts: Counter[str]

    @property
    def places(self) -> Sequence[Place]:
        """What of the workspace it changes."""

    def edit(self) -> None:
        """Do something to it."""


class Files:
    """Files that are edited in every way there is.

    Args:
        places: Theirs.
        hands: What edits them.
        rng: What it does, and to which.
        text: Returns what the n-th version of a place holds, ASCII of a size that is always the same.
    """

    def __init__(
        self, places: Sequence[Place], hands: Hands, rng: random.Random, text: Callable[[str, int], str]
    ) -> None:
        self.places = places
        self.counts: Counter[str] = Counter()
        self._hands = hands
        self._rng = rng
        self._text = text
        self._version = 0
        self._edits: dict[str, Callable[[Place, str], None]] = {
            "rewritten": self._rewrite,
            "edited in place, times kept": self._in_place,
            "replaced by renaming": self._replace,
            "deleted and made anew, times kept": self._recreate,
            "truncated": self._truncate,
            "deleted": self._delete,
            "made a directory": self._make_directory,
            "made a link that leads out": self._make_link,
        }

    def edit(self) -> None:
        """Do something to one of them."""
        place, what = self._rng.choice(self.places), self._rng.choice(list(self._edits))
        self._version += 1
        self._edits[what](place, self._text(place.name, self._version))
        place.became()
        self.counts[what] += 1

    def _rewrite(self, place: Place, text: str) -> None:
        is_file = place.path.is_file() and not place.path.is_symlink()
        place.becomes(*(() if is_file else (None,)), b"", text.encode())
        self._hands.do("write", place.path, text)

    def _in_place(self, place: Place, text: str) -> None:
        if place.now is None or len(place.now) != len(text):
            return self._rewrite(place, text)
        place.becomes(text.encode())
        return self._hands.do("write in place", place.path, text)

    def _replace(self, place: Place, text: str) -> None:
        place.becomes(*((None,) if place.path.is_dir() else ()), text.encode())
        self._hands.do("replace", place.path, text)

    def _recreate(self, place: Place, text: str) -> None:
        if place.now is None:
            return self._rewrite(place, text)
        place.becomes(None, b"", text.encode())
        return self._hands.do("recreate", place.path, text)

    def _truncate(self, place: Place, text: str) -> None:
        if place.now is None:
            return self._rewrite(place, text)
        cut = self._rng.randrange(len(place.now) + 1)
        place.becomes(place.now[:cut])
        return self._hands.do("truncate", place.path, str(cut))

    def _delete(self, place: Place, text: str) -> None:
        place.becomes(None)
        self._hands.do("delete", place.path)

    def _make_directory(self, place: Place, text: str) -> None:
        place.becomes(None)
        self._hands.do("make a directory", place.path)

    def _make_link(self, place: Place, text: str) -> None:
        """Put a link there that leads out of the workspace: it may not be followed."""
        place.becomes(None)
        self._hands.do("link", place.path, "/etc/hostname")


class MovingDirectory:
    """A directory that is renamed to and fro, with the files in it.

    Args:
        root: The workspace.
        hands: What renames it.
    """

    def __init__(self, root: Path, hands: Hands) -> None:
        self.counts: Counter[str] = Counter()
        self._hands = hands
        self._paths = [root / "here", root / "there"]
        self._paths[0].mkdir()
        held = {f"{letter}.txt": f"what {letter} holds, wherever it is\n" for letter in "abc"}
        for name, text in held.items():
            (self._paths[0] / name).write_text(text)
        self._held = {f"{side}/{name}": text.encode() for side in ("here", "there") for name, text in held.items()}
        self.places = [
            Place(root, name, text if name.startswith("here") else None) for name, text in self._held.items()
        ]

    def edit(self) -> None:
        """Rename it."""
        for place in self.places:
            place.becomes(None if place.now is not None else self._held[place.name])
        self._hands.do("rename", self._paths[0], str(self._paths[1]))
        self._paths.reverse()
        for place in self.places:
            place.became()
        self.counts["directory renamed"] += 1


class Links:
    """Links within the workspace, to files and to directories, that are swapped; now and then one leads to a secret.

    Args:
        root: The workspace.
        hands: What swaps them.
        rng: Which, and to where.
    """

    def __init__(self, root: Path, hands: Hands, rng: random.Random) -> None:
        self.counts: Counter[str] = Counter()
        self._root = root
        self._hands = hands
        self._rng = rng
        for side in ("left", "right"):
            (root / "kept" / side).mkdir(parents=True)
            (root / "kept" / f"{side}.txt").write_text(f"the {side:>5} file\n")
            (root / "kept" / side / "inner.txt").write_text(f"in the {side:>5} directory\n")
        (root / ".env").write_text("KEY=secret\n")
        self._file = Place(root, "link.txt", b"the  left file\n", is_link=True)
        self._inner = Place(root, "linked/inner.txt", b"in the  left directory\n")
        self.places = [self._file, self._inner]
        (root / "link.txt").symlink_to("kept/left.txt")
        (root / "linked").symlink_to("kept/left")

    def edit(self) -> None:
        """Let a link lead elsewhere."""
        side = self._rng.choice(("left", "right", "secret"))
        place, link, target, text = self._rng.choice(
            (
                (self._file, "link.txt", f"kept/{side}.txt", f"the {side:>5} file\n"),
                (self._inner, "linked", f"kept/{side}", f"in the {side:>5} directory\n"),
            )
        )
        is_secret = side == "secret"
        place.becomes(None if is_secret else text.encode())
        self._hands.do("link", self._root / link, ".env" if is_secret else target)
        place.became()
        self.counts["link swapped"] += 1


class Branches:
    """Files that git changes as it switches between branches.

    Args:
        root: The workspace, which becomes a repository; nothing else of it is tracked.
    """

    NAMES = ("one", "two")

    def __init__(self, root: Path) -> None:
        self.counts: Counter[str] = Counter()
        self._root = root
        self._branch = 0
        self._git("init", "-q", "-b", "one")
        for branch in self.NAMES:
            if branch == "two":
                self._git("checkout", "-q", "-b", "two")
            for letter in "pqr":
                (root / "branched").mkdir(exist_ok=True)
                (root / f"branched/{letter}.txt").write_text(f"{letter} on the branch {branch}\n")
            self._git("add", "branched")
            self._git("commit", "-q", "-m", f"the branch {branch}")
        self._git("checkout", "-q", "one")
        self.head = Place(root, ".git/HEAD", b"one")
        self._files = [
            Place(root, f"branched/{letter}.txt", f"{letter} on the branch one\n".encode()) for letter in "pqr"
        ]
        self.places = self._files  # `head` is asked for as a fact

    def edit(self) -> None:
        """Switch to the other branch."""
        branch = self.NAMES[1 - self.NAMES.index(str(self.head.now, "ascii") if self.head.now else "one")]
        self.head.becomes(branch.encode())
        for place in self._files:
            letter = Path(place.name).stem
            place.becomes(None, b"", f"{letter} on the branch {branch}\n".encode())
        self._git("checkout", "-q", "-f", branch)
        for place in (self.head, *self._files):
            place.became()
        self.counts["branch switched"] += 1

    def _git(self, *arguments: str) -> None:
        environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
        command = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", *arguments]
        subprocess.run(command, cwd=self._root, env=environment, check=True, capture_output=True)


def version_of(name: str, version: int) -> str:
    """Return a line that no other version of any file holds."""
    return f"version {version:012} of {name}\n"


def json_of(name: str, version: int) -> str:
    """Return a document that can be parsed in every other version."""
    return f'{{"edition": "{version:012}"{"]" if version % 2 else "}"}\n'


def is_torn(served: State, states: set[State]) -> bool:
    """Return whether a file was served in the midst of a write, which is no version but was there."""
    alike = [state for state in states if state is not None and served is not None and len(state) == len(served)]
    return len(alike) > 1 and all(byte in {state[at] for state in alike} for at, byte in enumerate(served or b""))
