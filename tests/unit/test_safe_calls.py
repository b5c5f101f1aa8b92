"""Which calls have no side effects, and which are the same."""

import pytest

from preloader.workspace.learn.safe_calls import call_key, is_safe, is_safe_command, signature


@pytest.mark.parametrize(
    "command",
    [
        "git status",
        "git -C sub log --oneline -5 | head -3",
        "cd src && ls -la 2>/dev/null; git diff HEAD~1 -- a.py 2>&1",
        "grep -rn 'a > b; rm -rf x' src | sort | wc -l",
        "git branch --show-current",
        "find . -name '*.py' -not -path './x/*'",
    ],
)
def test_commands_that_only_look_are_safe(command: str) -> None:
    assert is_safe_command(command)


@pytest.mark.parametrize(
    "command",
    [
        "",
        "rm x",
        "git status && rm x",
        "ls > files.txt",
        "ls & rm x",
        "cat $(which x)",
        "cat `x`",
        "git commit -m x",
        "git branch -D main",
        "git branch new",
        "git remote add x y",
        "git diff --output=x",
        "git -c core.pager=x log",
        "git grep -Oless x",
        "find . -delete",
        "find . -exec rm {} +",
        "sort -o x y",
        "rg --pre x y",
        "sed -i s/a/b/ x",
        "awk 'BEGIN { system(\"x\") }'",
        "curl http://example.org",
        "cat <<EOF\nx\nEOF",
        "echo x\nrm y",
    ],
)
def test_commands_that_may_act_are_not(command: str) -> None:
    assert not is_safe_command(command)


def test_tools_are_safe_by_name_and_the_shell_by_its_command() -> None:
    assert is_safe("Read", {"file_path": "a"})
    assert not is_safe("Write", {"file_path": "a"})
    assert not is_safe("WebFetch", {"url": "http://example.org"})
    assert not is_safe("Bash", {"command": "ls", "run_in_background": True})
    assert not is_safe("Bash", {})


def test_descriptions_do_not_tell_calls_apart() -> None:
    one = call_key("Bash", {"command": "ls", "description": "List"})
    assert one == call_key("Bash", {"description": "Show", "command": "ls", "timeout": 5})
    assert one != call_key("Bash", {"command": "ls -a"})


def test_a_signature_is_the_command_without_its_directory() -> None:
    assert signature("Bash", {"command": "cd a/b && git status -s"}) == "Bash git status"
    assert signature("Read", {"file_path": "x"}) == "Read"
