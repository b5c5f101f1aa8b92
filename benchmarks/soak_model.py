"""A language model for soaks: a server over HTTP that guesses at random, and often does worse than that."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_SLOW_S = 0.5


class _Guesses:
    def __init__(self, paths: Sequence[str], rng: random.Random) -> None:
        self._paths = paths
        self._rng = rng

    def reply(self) -> tuple[int, bytes]:
        """Return a status and a body: four times in five an answer in form, else a fault."""
        fault = self._rng.random()
        if fault < 0.05:
            return 500, b"{}"
        if fault < 0.1:
            return 200, b"no JSON"
        if fault < 0.15:
            return 200, _completion("{}")
        if fault < 0.2:
            time.sleep(_SLOW_S)
        files = [{"path": self._rng.choice(self._paths), "probability": self._rng.random()} for _ in range(4)]
        arguments = [{"name": "file_path", "value": self._rng.choice(self._paths)}]
        calls = [{"tool": "Read", "arguments": arguments, "probability": self._rng.random()}]
        return 200, _completion(json.dumps({"files": files, "calls": calls}))


@contextmanager
def guessing_server(paths: Sequence[str], seed: int) -> Iterator[str]:
    """Serve chat completions on a free port; yield the address.

    Args:
        paths: What is guessed.
        seed: Of the guesses.
    """
    guesses = _Guesses(paths, random.Random(seed))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            status, body = guesses.reply()
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:  # the question was cancelled
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _completion(content: str) -> bytes:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
    return json.dumps(
        {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    ).encode()
