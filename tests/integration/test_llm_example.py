"""The program in the documentation that puts a language model in service, as it stands but for the address."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("openai")

from tests.unit.chat_server import completion, server

ADDRESS = "http://localhost:8080/v1"
SERVING = Path(__file__).parents[2] / "docs" / "serving.md"


def program():
    blocks = re.findall(r"```python\n(.*?)```", SERVING.read_text(), re.DOTALL)
    (found,) = [block for block in blocks if ADDRESS in block]
    return found


TURNS = ("asr", "calendar", "tts")


def knowing(request):
    """Know that the three take turns; the latest is listed first."""
    prompt = request["messages"][0]["content"]
    (latest,) = re.findall(r"^1\. component:(\w+)$", prompt, re.MULTILINE)
    following = TURNS[(TURNS.index(latest) + 1) % 3]
    numbers = re.findall(rf"^(\d+)\. component:{following}$", prompt, re.MULTILINE)
    guesses = ", ".join(f'{{"number": {number}, "probability": 0.99}}' for number in numbers)
    return 200, completion(f'{{"guesses": [{guesses}]}}')


def preloads(folder, change=str):
    """Run the program, changed or not; return how many preloads it printed."""
    with server(knowing) as (url, log):
        path = folder / "program.py"
        path.write_text(change(program().replace(ADDRESS, url)))
        done = subprocess.run([sys.executable, "-W", "error", path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    counts, _, made = done.stdout.strip().rpartition(" preloaded: ")
    assert counts == "{'questions': 5, 'answers': 5}"
    assert len(log) == 5
    return int(made)


def test_the_program_preloads_what_the_model_says(tmp_path):
    hint = "manager.hint(prediction.key, prediction.per_step[0])"
    assert hint in program()
    assert preloads(tmp_path) > preloads(tmp_path, lambda text: text.replace(hint, "pass"))
