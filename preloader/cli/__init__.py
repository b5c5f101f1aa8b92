"""The command line: ``preloader COMMAND …``.

Each command group lives in a module of its own that registers itself on the application. Mistakes of the user end with
exit code 2 and one sentence; Ctrl-C ends with 130.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib import import_module
from typing import NoReturn

import typer
from typer.exceptions import TyperException

from preloader.errors import PreloaderError

_INTERRUPTED = 130  # how typer ends after Ctrl-C
COMMANDS = (
    *("history", "log", "components", "evaluate", "explain"),
    *("train", "leave-out", "personalise", "retrain", "replay", "workspace", "demo"),
)


def build() -> typer.Typer:
    """Return the application with all commands registered."""
    app = typer.Typer(
        name="preloader",
        help="Predict what an assistant needs next, get it ready, and measure what that was worth.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name in COMMANDS:
        module = f"{__name__}.{name.replace('-', '_')}"
        if importlib.util.find_spec(module):
            import_module(module).register(app)
    return app


def main() -> None:
    """Run the command line and exit."""
    try:
        code = build()(prog_name="preloader", standalone_mode=False)
    except PreloaderError as error:
        _fail(str(error))
    except TyperException as error:  # a mistake in the arguments
        _fail(error.format_message())  # of a command without arguments, whose help is printed, there is none
    except KeyboardInterrupt:  # while the commands were imported
        code = _INTERRUPTED
    if code == _INTERRUPTED:
        print("preloader: interrupted", file=sys.stderr)
    sys.exit(code)


def _fail(sentence: str) -> NoReturn:
    if sentence:
        print(f"preloader: {sentence}", file=sys.stderr)
    sys.exit(2)
