"""What is taken out of words before they are stored: a *redaction* maps an event to the event that may be kept.

The shipped `redact_event` masks what identifies a person or opens a door. It is deterministic, so that equal words stay
equal and a predictor learns the same from them; it errs on the side of masking (a commit's 40 hex digits look like a
token, and go). Resource keys stay as they are: they name what is loaded, and a masked name would load nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from preloader.events import ContextValue, Event

Redaction = Callable[[Event], Event]

_SECRET = "<secret>"  # noqa: S105 (what stands in a secret's place)
_KEY_PREFIXES = "|".join(
    (
        r"sk-|sk_(?:live|test)_|rk_live_",  # model providers, Stripe
        r"gh[opsur]_|github_pat_|glpat-",  # GitHub, GitLab
        r"xox[abeoprs]-|hf_|npm_|pypi-|dop_v1_",  # Slack, Hugging Face, npm, PyPI, DigitalOcean
        r"AKIA|ASIA|AIza|ya29\.|eyJ",  # AWS, Google, and JSON web tokens
    )
)
_NAMES = r"pass(?:word|wd|phrase)?|pwd|secret|token|credentials?|api[_-]?key|access[_-]?key|auth(?:orization)?[_-]?key"

_RULES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, flags), replacement)
    for pattern, replacement, flags in (
        (r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", _SECRET, re.DOTALL),
        (r"(?<=://)[^\s/:@]*:[^\s/@]+(?=@)", _SECRET, 0),
        (r"\b(Bearer|Basic)\s+[\w.~+/=-]{8,}", rf"\1 {_SECRET}", re.IGNORECASE),
        # NAME=value, "name": "value", --name value; the name may be the end of a longer one, as in GITHUB_TOKEN.
        (
            rf"""((?:{_NAMES})["']?\s*[:=]\s*|--(?:{_NAMES})\s+)("[^"\n]*"|'[^'\n]*'|[^\s"',;&]+)""",
            rf"\1{_SECRET}",
            re.IGNORECASE,
        ),
        (rf"(?<![A-Za-z0-9])(?:{_KEY_PREFIXES})[\w.-]{{10,}}", _SECRET, 0),
        (r"(?<![A-Za-z0-9])(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z0-9+]{32,}={0,2}", _SECRET, 0),
        (r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+", "<email>", 0),
        (r"(?<![\w.])(/home/|/Users/|[A-Za-z]:\\Users\\)[^\s/\\:'\"<>]+", r"\1<user>", 0),
        (r"(?<![\w<])\+\d{1,3}(?:[ .()/-]{0,2}\d){6,}", "<number>", 0),  # +49 (170) 123-4567
        (r"\b\d{4}(?:[ -]\d{4}){2,}(?:[ -]\d{1,4})?\b", "<number>", 0),  # cards, account numbers
        (r"\(?\b\d{3}\)?[ .-]{1,2}\d{2,3}[ .-]\d{4}\b", "<number>", 0),  # 555-123-4567, 078-05-1120
        (r"\d{7,}", "<number>", 0),
    )
)


def redact_text(text: str) -> str:
    """Return ``text`` with e-mail addresses, secrets, long digit runs and names of home directories masked."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text


def redact_event(event: Event) -> Event:
    """Return ``event`` with its text, and the strings of its context, masked by `redact_text`."""
    return msgspec.structs.replace(
        event,
        text=None if event.text is None else redact_text(event.text),
        context={name: _masked(value) for name, value in event.context.items()},
    )


def drop_words(event: Event) -> Event:
    """Return ``event`` without its text: what it used, and when, remains to learn from."""
    return msgspec.structs.replace(event, text=None)


def keep_words(event: Event) -> Event:
    """Return ``event`` as it is."""
    return event


def _masked(value: ContextValue) -> ContextValue:
    return redact_text(value) if isinstance(value, str) else value
