"""What redaction masks, and what it leaves alone."""

from __future__ import annotations

import pytest

from preloader.events import Event
from preloader.history.redact import drop_words, redact_event, redact_text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("write to rosa.luz+x@mail.example.org now", "write to <email> now"),
        ("export OPENAI=sk-proj-abcDEF123456_789-xyz", "export OPENAI=<secret>"),
        ("push with ghp_16C7e42F292c6912E7710c838347Ae178B4a", "push with <secret>"),
        ("AKIAIOSFODNN7EXAMPLE leaked", "<secret> leaked"),
        ('curl -H "Authorization: Bearer abc.def-123456"', 'curl -H "Authorization: Bearer <secret>"'),
        ("GITHUB_TOKEN=hunter2 make release", "GITHUB_TOKEN=<secret> make release"),
        ('{"password": "correct horse", "user": "x"}', '{"password": <secret>, "user": "x"}'),
        ("mysql --password hunter2 -u root", "mysql --password <secret> -u root"),
        ("git clone https://rosa:hunter2@example.org/r.git", "git clone https://<secret>@example.org/r.git"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc", "<secret>"),
        ("at 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b", "at <secret>"),
        ("open /home/rosa/notes.txt", "open /home/<user>/notes.txt"),
        ("file:///Users/Rosa/a b", "file:///Users/<user>/a b"),
        (r"C:\Users\Rosa\Desktop", r"C:\Users\<user>\Desktop"),
        ("my card 4111 1111 1111 1111 please", "my card <number> please"),
        ("call +49 (170) 123-4567", "call <number>"),
        ("call 555-123-4567", "call <number>"),
        ("number 01701234567", "number <number>"),
        ("ssn 078-05-1120.", "ssn <number>."),
    ],
)
def test_what_identifies_or_opens_is_masked(text: str, masked: str) -> None:
    assert redact_text(text) == masked
    assert redact_text(masked) == masked, "and masking again changes nothing"


@pytest.mark.parametrize(
    "text",
    [
        "turn on the kitchen lights at 18:30 on 2026-01-05, 22.5 degrees",
        "src/home/page.py line 123456, version 1.2.3",
        "see https://example.com/home/page?tab=2",
        "internationalisation-of-a-very-long-identifier_name_without_digits",
        "commit 0abfd85a by @rosa: the tokenizer's tests pass",
        "forget the password",
        "für 3 Personen 🙂",
        "",
    ],
)
def test_ordinary_words_stay(text: str) -> None:
    assert redact_text(text) == text


def test_an_event_keeps_everything_but_its_words() -> None:
    event = Event(
        user="rosa@example.org",
        session="s",
        time_s=1.0,
        action="open",
        text="to rosa@example.org",
        resources=("file:/home/rosa/a",),
        context={"screen": "/home/rosa", "volume": 12345678},
    )
    masked = redact_event(event)
    assert masked.text == "to <email>"
    assert masked.context == {"screen": "/home/<user>", "volume": 12345678}
    assert (masked.user, masked.resources) == (event.user, event.resources), "names that other parts look up"
    assert drop_words(event).text is None
    assert redact_event(drop_words(event)).text is None
