"""A bundle's manifest: what the bundle is, what it learned from, and what every file of it must hash to."""

from __future__ import annotations

from hashlib import sha256
from typing import Annotated, Any

import msgspec

from preloader.checks import shown
from preloader.errors import BundleError
from preloader.prediction.bundle_files import NAME

SCHEMA = 1
_HASH_DIGITS = 10

MAX_SESSIONS = 900_000
"""How many sessions a manifest can name: each takes 18 bytes of a file that may have 16 MiB."""

FileName = Annotated[str, msgspec.Meta(pattern=NAME)]
Sha256 = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]


class FittedOn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a bundle learned from.

    Attributes:
        format: The history's format.
        description: Where it is from, in words.
        licence: Under which licence it stands.
        sessions: Hashes of the sessions (`session_hash`), sorted: none of them may be tested on.
        households: Where all of them were simulated, by which households, as ``household:seed=7``: those of every seed
            call their people and sessions alike, and are others. Not written where there are none.
        events: How many events.
        last_s: When the latest of them began, in seconds since 1970.
    """

    format: str
    description: str = ""
    licence: str = ""
    sessions: list[str] = []
    households: list[str] = []
    events: int = 0
    last_s: float | None = None

    def holds(self, user: str, session: str) -> bool:
        """Return whether a session was learned from, and so may not be tested on.

        It looks through all of them: whoever asks for many makes a set of `sessions` first.
        """
        return session_hash(user, session) in self.sessions


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where some of what a bundle learned from is from.

    Attributes:
        name: What it is called.
        licence: Under which licence it stands.
        url: Where it is published; empty where it is not.
    """

    name: str
    licence: str
    url: str = ""


class Facts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a manifest says of a learned model beyond what is needed to run it.

    Attributes:
        features: What the model sees: the settings of its features.
        vocabulary: How many keys it names; ``None`` where it names none.
        calibration: How its probabilities are calibrated.
        metrics: Its figures.
        verification: How far the exported models are from the trained one.
        sources: What it learned from.
    """

    features: dict[str, Any] = {}
    vocabulary: int | None = None
    calibration: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    verification: dict[str, Any] = {}
    sources: list[Source] = []


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a bundle is.

    Attributes:
        schema: The version of this description.
        predictor: The name of the predictor whose state it holds.
        kinds: The resource kinds that it predicts; ``None`` for every kind that it meets.
        package: The version of this package that wrote it.
        files: SHA-256 of every other file.
        command: The command that made it.
        fitted_on: What it learned from; ``None`` for a running assistant's state.
        facts: More about a learned model; ``None``, and not written, for a predictor that only counts.
    """

    schema: int = SCHEMA
    predictor: str
    kinds: list[str] | None
    package: str
    files: dict[FileName, Sha256]
    command: str = ""
    fitted_on: FittedOn | None = None
    facts: Facts | None = None


class _Sealed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    manifest: Manifest
    sha256: Sha256


class _Version(msgspec.Struct):
    schema: int


class _AnyVersion(msgspec.Struct):
    manifest: _Version


def session_hash(user: str, session: str) -> str:
    """Return what stands for a session in a manifest, which must not name people."""
    return sha256(f"{user}\0{session}".encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_DIGITS]


def shared_user(history: str, user: str) -> str:
    """Return what stands in `session_hash` for a user of a history whose users share one assistant.

    Args:
        history: What the history is called: simulations of different seeds name their users and sessions alike.
        user: As in the events.
    """
    return f"{history}\0{user}"


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the manifest's file: readable JSON that holds its own hash."""
    table = msgspec.to_builtins(manifest)
    if manifest.facts is None:
        del table["facts"]  # so that manifests from before there were any still match their hash
    if manifest.fitted_on is not None and not manifest.fitted_on.households:
        del table["fitted_on"]["households"]  # likewise
    digest = sha256(msgspec.json.encode(table)).hexdigest()
    return msgspec.json.format(msgspec.json.encode({"manifest": table, "sha256": digest}), indent=1) + b"\n"


def decode_manifest(data: bytes) -> Manifest:
    """Return the manifest in a file's bytes.

    Raises:
        BundleError: It is malformed, of another version, or was changed.
    """
    try:
        schema = msgspec.json.decode(data, type=_AnyVersion).manifest.schema
        if schema != SCHEMA:
            newer = "a newer" if schema > SCHEMA else "an older"
            raise BundleError(f"manifest.json has schema {shown(schema)}, of {newer} version; {SCHEMA} can be read")
        sealed = msgspec.json.decode(data, type=_Sealed)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"manifest.json is no manifest: {error}") from error
    if encode_manifest(sealed.manifest) != data:
        raise BundleError("manifest.json does not match the SHA-256 that it holds: it was changed")
    return sealed.manifest
