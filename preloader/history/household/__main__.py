"""Writes the files of ``datasets/household``: ``python -m preloader.history.household datasets/household``."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from preloader.history.household import components_toml, read_household

SAMPLE = "household:seed=7,users=3,days=4"


def write_data_set(folder: Path) -> None:
    """Write the sample and the component registry that belongs to it into ``folder``."""
    household = read_household(SAMPLE)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sample.jsonl").write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in household.events()))
    (folder / "components.toml").write_text(components_toml(household), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m preloader.history.household FOLDER")
    write_data_set(Path(sys.argv[1]))
