"""What must not run in this process: a stranger's expression and a stranger's program, given to `re` and `compile`.

Both hold the interpreter's lock until they are done, the one for hours on an expression that goes back and forth, the
other for a second on a megabyte. So they run in an interpreter of their own, with bounds on its memory and processor
time, which can be killed. It is started with this file and imports nothing of the package.

The question is one JSON line on its standard input, followed by the bytes that it is about; the answer is JSON lines.
"""

import json
import sys

MEMORY_BYTES = 1_000_000_000
CPU_S = 20


def main() -> None:
    """Answer the question on standard input."""
    limit()
    question = json.loads(sys.stdin.buffer.readline())
    answer = question.pop("do")
    if answer == "grep":
        grep(**question)
    elif answer == "python":
        python(**question)
    else:
        tree(**question)


def limit() -> None:
    """Bound this process's memory and time, and leave no core behind."""
    import resource

    for what, most in (("RLIMIT_AS", MEMORY_BYTES), ("RLIMIT_CPU", CPU_S), ("RLIMIT_CORE", 0)):
        try:
            resource.setrlimit(getattr(resource, what), (most, most))
        except (AttributeError, ValueError, OSError):  # macOS grants no bound on memory
            continue


def grep(pattern: str, ignore_case: bool, files: list[tuple[str, int]], most: int, longest: int) -> None:
    """Write ``[file, line, text]`` for each line that matches, at most ``most``; files are [path, bytes] in order.

    Of a malformed expression, write ``[reason]``.
    """
    import re
    import warnings

    warnings.simplefilter("ignore")  # of expressions that later versions read otherwise
    try:
        search = re.compile(pattern, re.IGNORECASE if ignore_case else 0).search
    except (re.error, OverflowError, RecursionError) as error:
        sys.stdout.write(json.dumps([str(error)]) + "\n")
        return
    for path, size in files:
        data = sys.stdin.buffer.read(size)
        lines = data.decode("utf-8", "replace").split("\n")
        for number, line in enumerate(lines if lines[-1] else lines[:-1], 1):  # a newline ends a line and begins none
            line = line.removesuffix("\r")
            if search(line):
                sys.stdout.write(json.dumps([path, number, line[:longest]]) + "\n")
                most -= 1
                if most <= 0:
                    return
        sys.stdout.flush()


def python(name: str) -> None:
    """Write ``[line, column, message]`` for what keeps a Python source from being compiled; nothing is executed."""
    import warnings

    warnings.simplefilter("ignore")
    try:
        compile(sys.stdin.buffer.read(), name, "exec", dont_inherit=True)
    except SyntaxError as error:
        sys.stdout.write(json.dumps([error.lineno or 1, error.offset or 1, error.msg]) + "\n")
    except (ValueError, RecursionError, MemoryError) as error:
        sys.stdout.write(json.dumps([1, 1, str(error) or "it is nested too deeply"]) + "\n")


def tree(language: str, function: str) -> None:
    """Write ``[line, column, message]`` for the first nodes at which a source leaves its language's grammar."""
    import importlib

    from tree_sitter import Language, Parser

    source = sys.stdin.buffer.read()
    grammar = Language(getattr(importlib.import_module(language), function)())
    waiting, most = [Parser(grammar).parse(source).root_node], 10
    while waiting and most > 0:
        node = waiting.pop()
        if node.is_missing or node.type == "ERROR":
            row, column = node.start_point
            what = f"{node.type} is missing" if node.is_missing else "cannot be parsed"
            sys.stdout.write(json.dumps([row + 1, column + 1, what]) + "\n")
            most -= 1
        elif node.has_error:
            waiting += reversed(node.children)


if __name__ == "__main__":
    main()
