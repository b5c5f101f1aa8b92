"""Which tests a source file has, and what the last test run said."""

from __future__ import annotations

from pathlib import PurePosixPath

from preloader.workspace.reading import Reading
from preloader.workspace.test_names import tests_of
from preloader.workspace.test_output import MAX_OUTPUT, RunReport, parse_test_output

LAST_OUTPUT = "test output"


class LastOutput:
    """The last test output that the caller has fed in: its text, and how manieth it is."""

    def __init__(self) -> None:
        self.text = ""

    def feed(self, text: str) -> None:
        """Take the place of the one before; of a long one its end is kept."""
        self.text = text[-MAX_OUTPUT:]

    def parsed(self, reading: Reading) -> RunReport:
        """Return what it says."""
        reading.note_version(LAST_OUTPUT)
        return parse_test_output(self.text)


def test_files_of(reading: Reading, source: PurePosixPath) -> tuple[str, ...]:
    """Return the test files of a source file; see `preloader.workspace.test_names`.

    Raises:
        RefusedPathError: The source may not be looked at.
    """
    return tests_of(source, reading.walk())
