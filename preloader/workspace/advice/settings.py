"""What may be asked of the model that advises a workspace, and what came of it."""

from __future__ import annotations

import msgspec

from preloader.checks import Rule, check, is_number, is_whole
from preloader.ports import LanguageModel
from preloader.workspace.advice.record import AdviceRecord


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """A model to ask for what comes next, and how much of that. Whoever makes the model closes it.

    Attributes:
        model: Whom to ask, such as `preloader.llm.OpenAIModel`.
        timeout_s: How long an answer may take.
        calls_per_minute: How many questions there may be in any minute.
        tokens_per_session: How many tokens questions and answers of one workspace may have, by estimate.
        answer_tokens: How many an answer may have: the model's own ``max_tokens``. They are set aside while it is
            awaited, and stay spent where it does not come.
        characters: How much of the session a question shows.
        outputs: Whether it shows what tools returned.
        record: What became of earlier advice. Pass that of an earlier session on, where the model is the same.

    Raises:
        ConfigurationError: A number is wrong.
    """

    model: LanguageModel
    timeout_s: float = 5.0
    calls_per_minute: int = 20
    tokens_per_session: int = 200_000
    answer_tokens: int = 512
    characters: int = 6_000
    outputs: bool = True
    record: AdviceRecord = msgspec.field(default_factory=AdviceRecord)

    def __post_init__(self) -> None:
        check(self, _RULES)


_POSITIVE: Rule = (lambda value: is_whole(value, 1), "a whole number of at least 1")
_RULES: dict[str, Rule] = {
    "timeout_s": (lambda value: is_number(value) and value > 0, "a number of seconds above 0"),
    "calls_per_minute": _POSITIVE,
    "tokens_per_session": _POSITIVE,
    "answer_tokens": _POSITIVE,
    "characters": _POSITIVE,
}


class AdviceStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What a workspace asked a model, and what came of it.

    Attributes:
        asked: Questions that were sent.
        answered: Answers in time and in form.
        late: Questions that the agent's next call came before, or that ran out of time.
        invalid: Answers that were not in form.
        failed: Questions that the server could not be asked, or refused.
        cancelled: Questions whose query was over, or whose workspace was closed.
        replaced: Moments that were not asked about because a later one came first.
        forbidden: Moments that were not asked about because the budget was spent.
        silenced: Moments that were not asked about because the model had failed, or been late, repeatedly.
        accepted: Files and calls in answers that there are.
        refused: Those that there are not, or that may not be looked at.
        used: Accepted ones that the agent asked for within its next calls.
        unused: Those that it did not.
        tokens: Estimated tokens that were spent.
    """

    asked: int = 0
    answered: int = 0
    late: int = 0
    invalid: int = 0
    failed: int = 0
    cancelled: int = 0
    replaced: int = 0
    forbidden: int = 0
    silenced: int = 0
    accepted: int = 0
    refused: int = 0
    used: int = 0
    unused: int = 0
    tokens: int = 0
