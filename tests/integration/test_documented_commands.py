"""Every command that a document shows is one that the program understands, option by option; none is run."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from preloader.cli import build

ROOT = Path(__file__).parents[2]
MADE = ("build", "dist", "out")  # what commands leave behind, as .gitignore has it
PROGRAM = typer.main.get_command(build())
DOCUMENTS = [
    ROOT / "README.md",
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(page for page in ROOT.glob("[!.]*/**/README.md") if page.relative_to(ROOT).parts[0] not in MADE),
    *sorted(ROOT.glob("models/*/CARD.md")),
]
OF_OTHERS = {"--no-nanny"}  # options of other programs that a document names by themselves


def parts_of(text):
    """Return the lines of blocks of code, fenced or indented, without continuations, and the text between them."""
    code, prose, language = [], [], None
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if line.startswith("```"):
            language = line[3:].strip() if language is None else None
        elif language is None and not line.startswith("    "):
            prose.append(line)
        elif language in (None, "", "sh"):
            code.append(line.strip())
    return code, "\n".join(prose)


def commands_of(text):
    """Yield the words of each whole command, as a shell would give them to the program."""
    for line in parts_of(text)[0]:
        if line.startswith("preloader "):
            yield shlex.split(line, comments=True)[1:]
        elif "DEMO_ARGS=" in line:
            yield ["demo", *shlex.split(line.partition("DEMO_ARGS=")[2], comments=True)]


def spans_of(text):
    """Yield what stands between backticks within sentences."""
    yield from (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", parts_of(text)[1]))


def found(words):
    """Return the command, or group of commands, that the words name, and the words that it is given."""
    command = PROGRAM
    while hasattr(command, "commands") and words:
        assert words[0] in command.commands, (
            f"there is no command {words[0]!r}; there are {', '.join(command.commands)}"
        )
        command, words = command.commands[words[0]], words[1:]
    return command, words


def options_of(command):
    if hasattr(command, "commands"):
        return set().union(*map(options_of, command.commands.values()))
    return {"--help", *(name for one in command.params for name in (*one.opts, *one.secondary_opts))}


CASES = [
    pytest.param(words, id=f"{path.relative_to(ROOT)}: {' '.join(words)}")
    for path in DOCUMENTS
    for words in commands_of(path.read_text())
]


def test_commands_are_found():
    assert len(CASES) > 20


@pytest.mark.parametrize("words", CASES)
def test_a_command_in_a_block_is_understood(words):
    command, given = found(words)
    assert not hasattr(command, "commands"), "a command is missing"
    command.make_context(command.name, list(given))  # parses, and checks values; runs nothing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_named_within_a_sentence_exists(document):
    for span in spans_of(document.read_text()):
        if span.startswith("preloader "):
            command, given = found(shlex.split(span)[1:])
            unknown = {word.partition("=")[0] for word in given if word.startswith("--")} - options_of(command)
            assert not unknown, span
        elif span.startswith("--"):
            assert span.split()[0].partition("=")[0] in options_of(PROGRAM) | OF_OTHERS
