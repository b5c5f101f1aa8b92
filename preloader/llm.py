"""Asks any server that speaks OpenAI's chat protocol: a local llama.cpp, vLLM or Ollama as well as a service.

The answer is held to a JSON schema where the server can do so, and checked against it here in any case.
"""

from __future__ import annotations

import asyncio
import os
from types import TracebackType
from typing import Any, Self

import msgspec

from preloader.checks import shown
from preloader.errors import LanguageModelAnswerError, LanguageModelError, LanguageModelTimeoutError, require
from preloader.ports import A

_MAX_ANSWER_CHARACTERS = 65_536


class OpenAIModel:
    """A model on an OpenAI-compatible server; see `LanguageModel`.

    Making one imports the package ``openai``, which takes seconds: make it before the event loop is busy.

    Args:
        model: The model's name on the server.
        base_url: The server's address, such as ``http://localhost:8080/v1``; OpenAI's own if not given.
        api_key: The key that it wants; the environment's ``OPENAI_API_KEY`` if not given. A server of one's own, to
            which an address is given, may need none.
        max_tokens: How long an answer may become.

    Raises:
        MissingExtraError: The package ``openai`` is not installed.
        LanguageModelError: A key is needed, and there is none.
    """

    def __init__(
        self, model: str, *, base_url: str | None = None, api_key: str | None = None, max_tokens: int = 512
    ) -> None:
        self._openai = require("openai", "llm")
        self._model = model
        self._max_tokens = max_tokens
        key = api_key or os.environ.get("OPENAI_API_KEY") or ("none" if base_url else None)
        if key is None:
            raise LanguageModelError(f"the model {model!r} needs an API key: pass one, or set OPENAI_API_KEY")
        self._client = self._openai.AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0)

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def complete(self, prompt: str, answer: type[A], timeout_s: float) -> A:
        """Ask once; see `LanguageModel.complete`."""
        try:
            async with asyncio.timeout(timeout_s):
                reply = await self._client.chat.completions.create(
                    model=self._model,
                    messages=[{"role": "user", "content": prompt}],
                    response_format={"type": "json_schema", "json_schema": _schema(answer)},
                    max_tokens=self._max_tokens,
                    temperature=0.0,
                )
        except (TimeoutError, self._openai.APITimeoutError) as error:
            raise LanguageModelTimeoutError(f"{self._model} did not answer within {timeout_s:g} s") from error
        except self._openai.APIStatusError as error:
            raise LanguageModelError(f"the server of {self._model} answered with status {error.status_code}") from error
        except (self._openai.OpenAIError, ValueError) as error:
            raise LanguageModelError(f"{self._model} could not be asked: {shown(str(error))}") from error
        return self._checked(reply, answer)

    def _checked(self, reply: Any, answer: type[A]) -> A:
        try:
            content = reply.choices[0].message.content
        except (AttributeError, IndexError, TypeError) as error:
            raise LanguageModelAnswerError(
                f"the server of {self._model} answered what is no chat completion"
            ) from error
        if not isinstance(content, str) or len(content) > _MAX_ANSWER_CHARACTERS:
            raise LanguageModelAnswerError(f"{self._model} answered with no text, or with too much of it")
        try:
            return msgspec.json.decode(content, type=answer)
        except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
            raise LanguageModelAnswerError(f"the answer of {self._model} is no {answer.__name__}: {error}") from error


def _schema(answer: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the type's schema as the protocol wants it: a table at the top, not a reference to one."""
    (schema,), components = msgspec.json.schema_components([answer], ref_template="#/$defs/{name}")
    name = schema["$ref"].rpartition("/")[2]
    return {"name": name, "strict": True, "schema": {**components[name], "$defs": components}}
