"""A language model under ``preloader evaluate``: asked about every item of the test, alone and in a mixture."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, cast

from preloader.cli.evaluate_bundle import ScoredBundle
from preloader.errors import ConfigurationError, LanguageModelError
from preloader.evaluation import Candidate, Task
from preloader.evaluation.asked import AskedExpert, AskedOnce
from preloader.events import Context
from preloader.llm import OpenAIModel
from preloader.ports import Predictor
from preloader.prediction import OnlinePredictor
from preloader.prediction.experts import Expert, MixturePredictor
from preloader.prediction.llm_expert import LlmExpert

DEFAULT_TIMEOUT_S = 20.0
_MOST_FAILURES = 3  # in a row; and the very first question must be answered


class Interview:
    """Asks a model on a server, one question after the other; inside ``with``, whose end closes the connections.

    Args:
        model: The model's name on the server.
        url: The server's address; OpenAI's own if not given.
        timeout_s: How long an answer may take.

    Attributes:
        on_question: Called with a label before each question, for a progress bar.

    Raises:
        MissingExtraError: The package ``openai`` is not installed.
        LanguageModelError: A key is needed, and there is none.
    """

    def __init__(self, model: str, url: str | None, timeout_s: float) -> None:
        self.on_question: Callable[[str], None] = lambda label: None
        self._named = {"model": model, "url": url, "timeout_s": timeout_s}
        self._timeout_s = timeout_s
        self._model = OpenAIModel(model, base_url=url)
        self._asked = AskedOnce(self._model, lambda number: self.on_question(f"{LlmExpert.name}, question {number:,}"))
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connections."""
        with self._runner:
            self._runner.run(self._model.aclose())

    def __str__(self) -> str:
        asked = self._asked
        return f"{self._named['model']} answered {asked.questions - asked.failures:,} of {asked.questions:,} questions."

    def summary(self) -> dict[str, Any]:
        """Return whom was asked, and what became of it, as JSON has it."""
        return {**self._named, "questions": self._asked.questions, "failures": self._asked.failures}

    def names(self, saved: ScoredBundle | None) -> list[str]:
        """Return what there are rows for: the model alone, and mixed with a bundle's predictor or the online one."""
        beside = saved.names[0] if saved else OnlinePredictor.name
        return [LlmExpert.name, f"{beside}+{LlmExpert.name}"]

    def candidate(self, name: str, task: Task, saved: ScoredBundle | None) -> Candidate:
        """Return one of its rows.

        Args:
            name: One of `names`.
            task: What is measured.
            saved: The bundle whose predictor it is mixed with, if not the online one.
        """
        if name == LlmExpert.name:
            return Candidate(name, lambda: self._expert(task))
        if saved is None:
            beside = Candidate(name, lambda: OnlinePredictor((task.kind,), horizon=task.steps))
        else:
            beside = saved.candidate(saved.names[0], task.kind)

        def make() -> Predictor:
            return MixturePredictor(
                [cast("Expert", beside.make()), self._expert(task)], (task.kind,), horizon=task.steps
            )

        return Candidate(name, make, beside.fitted)

    def _expert(self, task: Task) -> AskedExpert:
        tested = {(session.user, session.session) for session in task.test}
        expert = LlmExpert(self._asked, task.kind, horizon=task.steps, timeout_s=self._timeout_s)
        return AskedExpert(expert, self._ask, tested)

    def _ask(self, expert: LlmExpert, context: Context) -> None:
        try:
            self._runner.run(expert.ask(context))
        except LanguageModelError as error:
            failures = self._asked.failures_in_a_row
            if failures == self._asked.questions or failures >= _MOST_FAILURES:
                raise LanguageModelError(
                    f"{error}; it is not asked again after {failures} failures in a row"
                ) from error


def interview_of(model: str | None, url: str | None, timeout_s: float) -> Interview | None:
    """Return what asks the model that the options name; ``None`` where they name none.

    Raises:
        ConfigurationError: There is an address, and no model.
        MissingExtraError: The package ``openai`` is not installed.
        LanguageModelError: A key is needed, and there is none.
    """
    if model is None:
        if url is not None:
            raise ConfigurationError(f"--llm-url {url} needs --llm-model, the name of a model that is served there")
        return None
    return Interview(model, url, timeout_s)
