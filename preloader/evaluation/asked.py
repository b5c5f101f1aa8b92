"""A language model under evaluation: asked about every item of the test, and waited for."""

from __future__ import annotations

from collections.abc import Callable, Collection

from preloader.errors import LanguageModelError
from preloader.events import Context, Event, Prediction
from preloader.ports import A, LanguageModel, Snapshot
from preloader.prediction.distribution import Distribution, to_predictions
from preloader.prediction.llm_expert import LlmExpert

Ask = Callable[[LlmExpert, Context], None]
"""Has an expert ask its model about a context, and returns when the answer is remembered, or there is none."""


class AskedOnce:
    """A language model that is asked each question once, however often it is put: answers and failures are kept.

    Args:
        model: Whom to ask.
        on_question: Called with the number of each question, from 1, before it is asked.
    """

    def __init__(self, model: LanguageModel, on_question: Callable[[int], None] = lambda number: None) -> None:
        self._model = model
        self._on_question = on_question
        self._said: dict[str, object] = {}
        self.questions = 0
        self.failures = 0
        self.failures_in_a_row = 0

    async def complete(self, prompt: str, answer: type[A], timeout_s: float) -> A:
        """Return the answer, asked for at most once; see `LanguageModel.complete`."""
        if prompt not in self._said:
            self._said[prompt] = await self._asked(prompt, answer, timeout_s)
        said = self._said[prompt]
        if isinstance(said, LanguageModelError):
            raise said
        assert isinstance(said, answer)
        return said

    async def _asked(self, prompt: str, answer: type[A], timeout_s: float) -> A | LanguageModelError:
        self.questions += 1
        self._on_question(self.questions)
        try:
            said = await self._model.complete(prompt, answer, timeout_s)
        except LanguageModelError as error:
            self.failures += 1
            self.failures_in_a_row += 1
            return error
        self.failures_in_a_row = 0
        return said


class AskedExpert:
    """An LLM expert that is asked whenever it is to speak of a session of the test, once that has begun.

    In service a model is asked in the background, and is heard if its answer comes in time; here every answer does. It
    learns nothing but which keys were used lately, which runs on while predictors are frozen.

    Args:
        expert: Who asks.
        ask: Has it ask.
        sessions: The sessions to ask about, by user and name; of others it has nothing to say.
    """

    name = LlmExpert.name

    def __init__(self, expert: LlmExpert, ask: Ask, sessions: Collection[tuple[str, str]]) -> None:
        self._expert = expert
        self._ask = ask
        self._sessions = sessions
        self._latest: Context | None = None  # what was asked about

    @property
    def revision(self) -> int:
        """Grows with every answer."""
        return self._expert.revision

    def learn_one(self, event: Event) -> None:
        """Take note of the keys that an event used; see `Predictor.learn_one`."""
        self._expert.note(event)

    def follow(self, event: Event) -> None:
        """Do as in learning; see `Follows`."""
        self._expert.note(event)

    def predict(self, context: Context, steps: int = 3) -> list[Prediction]:
        """Return what the model answers; see `Predictor.predict`."""
        return to_predictions(self.distribution(context, self._expert.kind, steps))

    def distribution(self, context: Context, kind: str, steps: int) -> Distribution:
        """Return what the model answers of this context."""
        is_tested = bool(context.recent) and (context.user, context.session) in self._sessions
        if kind == self._expert.kind and is_tested and context != self._latest:
            self._ask(self._expert, context)
            self._latest = context
        return self._expert.distribution(context, kind, steps)

    def snapshot(self) -> Snapshot:
        """Return the expert's state."""
        return self._expert.snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        """Replace the expert's state."""
        self._expert.restore(snapshot)
        self._latest = None
