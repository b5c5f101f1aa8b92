"""Redaction, whatever surrounds the secret."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preloader.history.redact import redact_text

AROUND = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
NAME = st.text("abcdefghijklmnopqrstuvwxyz", min_size=6, max_size=10)


@settings(deadline=None)
@given(AROUND, NAME, AROUND)
def test_a_secret_never_survives_its_surroundings(before: str, name: str, after: str) -> None:
    for secret in (f"{name}@example.org", f"/home/{name}/x", f"ghp_{name}0123456789", f"https://u:{name}@example.org"):
        text = f"{before} {secret} {after}"
        assert text.count(name) > redact_text(text).count(name)


@settings(deadline=None)
@given(AROUND)
def test_masking_twice_is_masking_once(text: str) -> None:
    once = redact_text(text)
    assert redact_text(once) == once


@pytest.mark.parametrize(
    "piece", ["a@", "1-", "token=", "/home/", "eyJ", "://:", "+1 ", "A1", '"', "-----BEGIN ", "A1+"]
)
def test_no_input_makes_it_slow(piece: str) -> None:
    redact_text(piece * 20_000)  # quadratic backtracking would run into the suite's time limit
