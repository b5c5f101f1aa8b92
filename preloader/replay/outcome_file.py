"""Writes counterfactual outcomes as JSONL or Parquet."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec

from preloader.errors import require
from preloader.replay.files import replacing
from preloader.replay.outcomes import OutcomeRow

_BATCH = 20_000


@contextmanager
def outcome_file(path: Path) -> Iterator[Callable[[OutcomeRow], None]]:
    """Open a file of outcome rows; it appears only if all goes well.

    Args:
        path: Written as Parquet where it ends in ``.parquet``, otherwise as JSONL, compressed where it ends in ``.gz``.

    Raises:
        ConfigurationError: It cannot be written.
        MissingExtraError: Parquet is asked for and pyarrow is not installed.
    """
    with replacing(path) as draft:
        if path.suffix == ".parquet":
            with _parquet(draft) as emit:
                yield emit
        else:
            with cast("BinaryIO", gzip.open(draft, "wb") if path.suffix == ".gz" else draft.open("wb")) as stream:
                yield _jsonl(stream)


def _jsonl(stream: BinaryIO) -> Callable[[OutcomeRow], None]:
    encoder = msgspec.json.Encoder()

    def emit(row: OutcomeRow) -> None:
        stream.write(encoder.encode(row) + b"\n")

    return emit


@contextmanager
def _parquet(path: Path) -> Iterator[Callable[[OutcomeRow], None]]:
    arrow: Any = require("pyarrow", "parquet")
    parquet: Any = require("pyarrow.parquet", "parquet")
    columns = OutcomeRow.__annotations__.items()
    schema = arrow.schema([arrow.field(name, _arrow_type(arrow, hint), "None" in hint) for name, hint in columns])
    rows: list[dict[str, Any]] = []
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:

        def flush() -> None:
            writer.write_table(arrow.Table.from_pylist(rows, schema=schema))
            rows.clear()

        def emit(row: OutcomeRow) -> None:
            rows.append(msgspec.structs.asdict(row))
            if len(rows) == _BATCH:
                flush()

        yield emit
        flush()


def _arrow_type(arrow: Any, hint: str) -> Any:
    """Return the column type of a field, from its annotation."""
    plain = hint.removesuffix(" | None")
    if plain.startswith("tuple"):
        return arrow.list_(arrow.float64())
    return {"str": arrow.string(), "int": arrow.int64(), "float": arrow.float64(), "bool": arrow.bool_()}[plain]
