"""What the commands that learn from histories share: reading them, and showing how far the work is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

from preloader.errors import ConfigurationError, HistoryError
from preloader.events import kind_of
from preloader.history import Reader, ReadReport, Session, SplitRule, group_sessions, sources
from preloader.history.parquet import ParquetReader
from preloader.history.partition_names import is_partitioned


class History:
    """Sessions that were read, and what their format says about them.

    Attributes:
        paths: Where they were read from.
        format: The format's name, or several with commas.
        rule: How they are split.
        sessions: In order of first appearance.
        report: What could not be read.
    """

    def __init__(self, paths: Sequence[Path], format_name: str | None, fit_percent: int | None = None) -> None:
        found = sources(paths, format_name)
        readers = {reader.name: reader for reader, _ in found}
        self.paths = [str(path) for path in paths]
        self.format = ", ".join(readers)
        rule = _common_rule(readers)
        self.rule = rule if fit_percent is None else msgspec.structs.replace(rule, fit_percent=fit_percent)
        self.report = ReadReport()
        self.sessions: list[Session] = group_sessions(
            event for reader, path in found for event in reader.read(path, self.report)
        )
        if not self.sessions:
            raise HistoryError(f"{', '.join(self.paths)}: the history holds no events")
        self._stated = [kind for reader in readers.values() for kind in reader.kinds]

    def target(self, named: str | None) -> str:
        """Return the kind to predict: the one named, or the format's first.

        Raises:
            ConfigurationError: The history has no such kind.
        """
        return target_of(named, self._kinds(), self.format)

    def _kinds(self) -> list[str]:
        """Return the kinds that the format states, or, where it states none, those that its events use."""
        used = (kind_of(key) for session in self.sessions for event in session.events for key in event.resources)
        return list(dict.fromkeys(self._stated or used))


def target_of(named: str | None, kinds: Iterable[str], format_name: str) -> str:
    """Return the kind that is named, or else the first; of the kinds no more are asked for than it takes.

    Raises:
        ConfigurationError: There is no such kind.
    """
    met = []
    for kind in kinds:
        if named in (None, kind):
            return kind
        met.append(kind)
    have = ", ".join(met) or "none at all"
    raise ConfigurationError(f"--target {named!r} is not a kind that {format_name} histories have; choose from: {have}")


def _common_rule(readers: dict[str, Reader]) -> SplitRule:
    rules = {reader.rule for reader in readers.values()}
    if len(rules) > 1:
        raise ConfigurationError(
            f"{', '.join(readers)} are split in different ways; give histories of one of them at a time"
        )
    return rules.pop()


@contextmanager
def progress(description: str, total: int | None = None) -> Iterator[Callable[[str], None]]:
    """Show a bar on stderr where that is a terminal; it is gone when the work is done.

    Args:
        description: What is being done.
        total: How many steps it takes, if that is known.

    Yields:
        A function that takes one step, and says what is being done now.
    """
    console = Console(stderr=True)
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task(description, total=total)
        yield lambda label: bar.update(task, advance=1, description=label)


def partitioned(paths: Sequence[Path], format_name: str | None) -> Path | None:
    """Return the directory that is partitioned by user, if that is the whole history."""
    if len(paths) == 1 and format_name in (None, ParquetReader.name) and is_partitioned(paths[0]):
        return paths[0]
    return None


def warn_of(report: ReadReport) -> None:
    """Say on stderr how many records were skipped, if any."""
    if report.bad:
        first = report.examples[0]
        Console(stderr=True).print(
            f"Skipped {report.bad:,} malformed records; the first is {first}", markup=False, soft_wrap=True
        )


def read_history(paths: Sequence[Path], format_name: str | None, fit_percent: int | None = None) -> History:
    """Read histories, with a bar.

    Args:
        paths: Files, directories or repositories.
        format_name: Their format; detected if not given.
        fit_percent: How much of each stream may be fitted, if not what the format says.

    Raises:
        HistoryError: A path cannot be read, its format is not known, or there is nothing in it.
        ConfigurationError: The formats are split in different ways.
    """
    with progress("reading"):
        history = History(paths, format_name, fit_percent)
    warn_of(history.report)
    return history
