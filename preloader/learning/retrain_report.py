"""The report of a run of retraining, for people."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from preloader.errors import BundleError
from preloader.learning.comparison import Compared, Gain
from preloader.learning.retrain import Entry
from preloader.whole_file import write_whole

_HEADER = """\
| kind | sessions | items | log loss | other | gain (95 % interval) | top-1 | other | gain (95 % interval) |
|---|---|---|---|---|---|---|---|---|
"""


def report_of(service: Path) -> Path:
    """Return where the report of the latest run stands."""
    return service.with_name(f"{service.name}.retrain.md")


def report(entry: Entry) -> str:
    """Return the report, in Markdown."""
    when = datetime.fromtimestamp(entry.time_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
    rows = "".join(map(_row, entry.compared))
    since = " It has learned the newest ones since, too." if entry.verdict == "promoted" else ""
    figures = f"\nThe candidate against {_other(entry)}, both on the same items:\n\n{_HEADER}{rows}" if rows else ""
    return f"""\
# Retraining of {Path(entry.bundle).name}: {entry.verdict}

{when}. Recipe `{entry.recipe}`; {entry.learned:,} older sessions to learn from, {entry.newest:,} newest to test on.

{entry.reason[:1].upper()}{entry.reason[1:]}.{since}
{figures}
Made by

    {entry.command}
"""


def write_report(path: Path, entry: Entry) -> None:
    """Write the report, whole or not at all.

    Raises:
        BundleError: It cannot be written.
    """
    try:
        write_whole(path, report(entry).encode())
    except OSError as error:
        raise BundleError(f"{path} cannot be written: {error.strerror or error}") from error


def _other(entry: Entry) -> str:
    return "the bundle in service" if entry.against == "in service" else f"`{entry.against}` (nothing was in service)"


def _row(one: Compared) -> str:
    cells = (
        f"`{one.kind}`",
        f"{one.sessions:,}",
        f"{one.items:,}",
        *(f"{value:.3f}" for value in one.log_loss),
        _gain(one.log_loss_gain),
        *(f"{value:.3f}" for value in one.top1),
        _gain(one.top1_gain),
    )
    return f"| {' | '.join(cells)} |\n"


def _gain(gain: Gain) -> str:
    return f"{gain.mean:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
