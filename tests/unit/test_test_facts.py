import asyncio

import pytest

from preloader.errors import RefusedPathError, UnknownResourceError
from preloader.workspace.test_output import Failure, parse_test_output
from tests.unit.workspace_tree import Desk, facts, write

# ---- frameworks ----

SETUPS = {
    "pytest by its section": ({"pyproject.toml": "[tool.pytest.ini_options]\n"}, "pytest", "python -m pytest"),
    "pytest by its file": ({"pytest.ini": "[pytest]\n"}, "pytest", "python -m pytest"),
    "pytest by tox.ini": ({"tox.ini": "[pytest]\n"}, "pytest", "python -m pytest"),
    "pytest by setup.cfg": ({"setup.cfg": "[tool:pytest]\n"}, "pytest", "python -m pytest"),
    "pytest by a group": (
        {"pyproject.toml": "[dependency-groups]\ndev = ['pytest>=8']\n"},
        "pytest",
        "python -m pytest",
    ),
    "pytest by an extra": (
        {"pyproject.toml": "[project.optional-dependencies]\nt = ['pytest']\n", "uv.lock": ""},
        "pytest",
        "uv run pytest",
    ),
    "pytest by poetry": (
        {"pyproject.toml": "[tool.poetry.group.dev.dependencies]\npytest = '*'\n", "poetry.lock": ""},
        "pytest",
        "poetry run pytest",
    ),
    "pytest by requirements": ({"requirements-dev.txt": "pytest==8\n"}, "pytest", "python -m pytest"),
    "not pytest-cov": (
        {"pyproject.toml": "[project]\ndependencies = ['pytest-cov']\n", "tests/x.py": ""},
        "unittest",
        "python -m unittest discover -s tests",
    ),
    "pytest by a conftest.py of the tests": (
        {"pyproject.toml": "[project]\nname = 'x'\n", "tests/conftest.py": ""},
        "pytest",
        "python -m pytest",
    ),
    "pytest by tox.ini's commands": (
        {"tox.ini": "[testenv]\ncommands = pytest {posargs}\n", "tests/x.py": ""},
        "pytest",
        "python -m pytest",
    ),
    "pytest by a folder of requirements": (
        {"requirements/dev.txt": "-r base.txt\npytest\n", "setup.py": "", "tests/x.py": ""},
        "pytest",
        "python -m pytest",
    ),
    "pytest by uv": ({"pyproject.toml": "[tool.uv]\ndev-dependencies = ['pytest']\n"}, "pytest", "python -m pytest"),
    "pytest by pdm": (
        {"pyproject.toml": "[tool.pdm.dev-dependencies]\ntest = ['pytest']\n", "pdm.lock": ""},
        "pytest",
        "pdm run pytest",
    ),
    "unittest": (
        {"setup.py": "", "tests/__init__.py": "", "tests/test_x.py": ""},
        "unittest",
        "python -m unittest discover",
    ),
    "unittest, of no package": (
        {"setup.py": "", "tests/test_x.py": ""},
        "unittest",
        "python -m unittest discover -s tests",
    ),
    "unittest by Django": ({"manage.py": "", "shop/tests.py": ""}, "unittest", "python manage.py test"),
    "jest": ({"package.json": '{"devDependencies": {"jest": "1"}}'}, "jest", "npx --no-install jest"),
    "jest by its section": ({"package.json": '{"jest": {}}', "yarn.lock": ""}, "jest", "yarn run jest"),
    "vitest": (
        {"package.json": '{"scripts": {"test": "vitest run"}}', "pnpm-lock.yaml": ""},
        "vitest",
        "pnpm exec vitest run",
    ),
    "vitest by its file": ({"package.json": "{}", "vitest.config.ts": ""}, "vitest", "npx --no-install vitest run"),
    "go": ({"go.mod": "module x\n"}, "go", "go test ./..."),
    "cargo": ({"Cargo.toml": ""}, "cargo", "cargo test"),
    "maven": ({"pom.xml": "", "mvnw": ""}, "maven", "./mvnw test"),
    "gradle": ({"build.gradle.kts": ""}, "gradle", "gradle test"),
    "gradle with its wrapper": ({"build.gradle": "", "gradlew": ""}, "gradle", "./gradlew test"),
}


@pytest.mark.parametrize("name", SETUPS)
def test_how_tests_are_run(tmp_path, name):
    files, framework, command = SETUPS[name]
    write(tmp_path, files)
    (found,) = facts(tmp_path, "test setup")
    assert [(one.framework, " ".join(one.command), one.directory) for one in found] == [(framework, command, ".")]


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"scripts": 1, "devDependencies": [1]}', "[" * 100_000])
def test_configuration_that_is_none_says_nothing(tmp_path, text):
    write(tmp_path, {"package.json": text, "pyproject.toml": text, "tox.ini": text, "setup.cfg": text})
    assert facts(tmp_path, "test setup") == [()]


def test_the_nearest_configuration_counts(tmp_path):
    write(tmp_path, {"go.mod": "", "web/package.json": '{"jest": {}}', "web/src/x.ts": "", "lib/x.go": ""})
    web, lib = facts(tmp_path, "test setup web/src/x.ts", "test setup lib")
    assert [(one.framework, one.directory) for one in (*web, *lib)] == [("jest", "web"), ("go", ".")]


def test_what_runs_tests_may_lie_above(tmp_path):
    write(
        tmp_path,
        {
            "pnpm-lock.yaml": "",
            "web/package.json": '{"devDependencies": {"vitest": "1"}}',
            "own/package.json": '{"jest": {}}',
            "own/package-lock.json": "{}",
            "gradlew": "",
            "libs/core/build.gradle": "",
            "uv.lock": "",
            "api/pyproject.toml": "[tool.pytest.ini_options]\n",
            "api/tests/unit/conftest.py": "",
            "loose/conftest.py": "",
        },
    )
    names = ("web", "own", "libs/core", "api/tests/unit", "loose")
    found = facts(tmp_path, *(f"test setup {name}" for name in names))
    assert [(" ".join(one.command), one.directory) for (one,) in found] == [
        ("pnpm exec vitest run", "web"),
        ("npx --no-install jest", "own"),
        ("../../gradlew test", "libs/core"),
        ("uv run pytest", "api"),
        ("uv run pytest", "loose"),
    ]


def test_a_new_configuration_is_seen(tmp_path):
    write(tmp_path, {"src/x.py": ""})

    async def main():
        async with Desk(tmp_path) as desk:
            assert await desk.fact("test setup src") == ()
            write(tmp_path, {"pytest.ini": ""})
            assert [one.framework for one in await desk.fact("test setup src")] == ["pytest"]

    asyncio.run(main())


# ---- tests of a source file ----


@pytest.mark.parametrize(
    ("source", "tests"),
    [
        ("src/pkg/app.py", ["tests/pkg/test_app.py", "other/app_test.py"]),
        ("web/app.ts", ["web/app.test.ts", "web/__tests__/app.tsx", "e2e/app.spec.js"]),
        ("go/app.go", ["go/app_test.go"]),
        ("java/src/main/java/x/App.java", ["java/src/test/java/x/AppTest.java", "java/src/test/java/y/AppIT.java"]),
        ("rust/src/app.rs", ["rust/tests/app.rs"]),
        ("tests/pkg/test_app.py", ["tests/pkg/test_app.py"]),
        ("src/other/nothing.py", []),
        ("src/pkg/__init__.py", ["tests/test_pkg.py"]),
        ("web/app.service.ts", ["web/app.service-spec.ts", "web/app.service.cy.ts"]),
        ("java/src/main/java/x/Other.java", ["java/src/test/java/x/OtherTestCase.java"]),
        ("shop/tests.py", ["shop/tests.py"]),
        ("src/pkg/_app.py", ["tests/pkg/test_app.py", "other/app_test.py"]),
    ],
)
def test_the_tests_of_a_source_file(tmp_path, source, tests):
    names = (
        "tests/pkg/test_app.py",
        "other/app_test.py",
        "web/app.test.ts",
        "web/__tests__/app.tsx",
        "e2e/app.spec.js",
    )
    names += ("go/app_test.go", "rust/tests/app.rs", "java/src/test/java/x/AppTest.java", "tests/test_pkg.py")
    names += ("java/src/test/java/y/AppIT.java", "src/pkg/app.py", "node_modules/app.test.ts")
    names += ("web/app.service-spec.ts", "web/app.service.cy.ts", "java/src/test/java/x/OtherTestCase.java")
    write(tmp_path, {**dict.fromkeys(names, ""), ".gitignore": "node_modules/\n"})
    assert facts(tmp_path, f"test files {source}") == [tuple(tests)]


# ---- outputs ----

OUTPUTS = {
    "pytest": (
        """
============================= test session starts ==============================
tests/test_x.py F.                                                       [100%]
=================================== FAILURES ===================================
_________________________________ TestA.test_b _________________________________

    def test_b(self):
>       helper()

tests/test_x.py:7:
_ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _
E       assert 1 == 2
src/app.py:3: AssertionError
=========================== short test summary info ============================
FAILED tests/test_x.py::TestA::test_b - assert 1 == 2
ERROR tests/test_y.py - ModuleNotFoundError: No module named 'yaml'
E   ModuleNotFoundError: No module named 'yaml'
========================= 1 failed, 1 passed in 0.12s ==========================
""",
        [
            Failure("tests/test_x.py::TestA::test_b", "src/app.py", 3, "assert 1 == 2"),
            Failure("tests/test_y.py", "tests/test_y.py", 0, "ModuleNotFoundError: No module named 'yaml'"),
        ],
        ("yaml",),
    ),
    "unittest": (
        """
F
======================================================================
FAIL: test_b (tests.test_x.TestA.test_b)
----------------------------------------------------------------------
Traceback (most recent call last):
  File "/work/tests/test_x.py", line 9, in test_b
    self.assertEqual(1, 2)
AssertionError: 1 != 2

----------------------------------------------------------------------
Ran 1 test in 0.001s

FAILED (failures=1)
""",
        [Failure("tests.test_x.TestA.test_b", "/work/tests/test_x.py", 9, "AssertionError: 1 != 2")],
        (),
    ),
    "jest": (
        """
FAIL src/app.test.ts
  \u25cf app \u203a adds

    expect(received).toBe(expected) // Object.is equality

      at Object.<anonymous> (node_modules/jest/x.js:1:1)
      at Object.toBe (src/app.test.ts:5:17)

PASS src/b.test.ts
    Cannot find module 'lodash' from 'src/a.ts'
Test Suites: 1 failed, 1 passed, 2 total
""",
        [Failure("app \u203a adds", "src/app.test.ts", 5, "expect(received).toBe(expected) // Object.is equality")],
        ("lodash",),
    ),
    "vitest": (
        """
 RUN  v3.2.0 /work

 FAIL  src/app.test.ts > app > adds
AssertionError: expected 3 to be 4 // Object.is equality
 \u276f src/app.test.ts:6:20
 Test Files  1 failed (1)
""",
        [Failure("app > adds", "src/app.test.ts", 6, "AssertionError: expected 3 to be 4 // Object.is equality")],
        (),
    ),
    "go": (
        """
--- FAIL: TestAdd (0.00s)
    add_test.go:9: got 3, want 4
    --- FAIL: TestAdd/sub (0.00s)
        add_test.go:12: worse
FAIL
FAIL\texample.org/x\t0.002s
""",
        [Failure("TestAdd", "add_test.go", 9, "got 3, want 4"), Failure("TestAdd/sub", "add_test.go", 12, "worse")],
        (),
    ),
    "cargo": (
        """
running 2 tests
test tests::adds ... FAILED
test tests::works ... ok

---- tests::adds stdout ----
thread 'tests::adds' panicked at src/lib.rs:14:9:
assertion `left == right` failed

test result: FAILED. 1 passed; 1 failed; 0 ignored
""",
        [Failure("tests::adds", "src/lib.rs", 14, "assertion `left == right` failed")],
        (),
    ),
    "maven": (
        """
[ERROR] Tests run: 3, Failures: 1, Errors: 0, Skipped: 0
[ERROR] Failures:
[ERROR]   AppTest.adds:21 expected: <4> but was: <3>
[INFO] BUILD FAILURE
""",
        [Failure("AppTest.adds", "AppTest.java", 21, "expected: <4> but was: <3>")],
        (),
    ),
    "gradle": (
        """
> Task :test FAILED

AppTest > adds() FAILED
    org.opentest4j.AssertionFailedError at AppTest.java:14

BUILD FAILED in 1s
""",
        [Failure("AppTest > adds()", "AppTest.java", 14, "org.opentest4j.AssertionFailedError")],
        (),
    ),
}


@pytest.mark.parametrize("framework", OUTPUTS)
def test_the_failures_of_a_run(framework):
    text, failures, missing = OUTPUTS[framework]
    coloured = text.replace("FAIL", "\x1b[31mFAIL\x1b[0m", 1)
    for given in (text, coloured, text.replace("\n", "\r\n")):
        report = parse_test_output(given)
        assert report.framework == framework
        assert list(report.failures) == failures
        assert report.missing == missing


def test_what_is_no_test_output_says_nothing():
    for text in (
        "",
        "hello\n" * 100,
        "\0" * 1_000,
        "= " * 100_000,
        "at " * 200_000,
        "x" * 2_000_000,
        "FAIL " * 100_000,
    ):
        assert parse_test_output(text).failures == ()


def test_the_last_output_counts(tmp_path):
    async def main():
        async with Desk(tmp_path) as desk:
            assert (await desk.fact("test failures")).framework == ""
            desk.facts.feed_test_output(OUTPUTS["go"][0])
            assert (await desk.fact("test failures")).framework == "go"
            assert (await desk.fact("test failures")).framework == "go"
            assert desk.outcomes() == (1, 2)

    asyncio.run(main())


def test_facts_that_there_are_not(tmp_path):
    write(tmp_path, {"src/x.py": ""})
    with pytest.raises(UnknownResourceError, match="there is no fact 'weather': known are git status, git diff"):
        facts(tmp_path, "weather")
    with pytest.raises(UnknownResourceError, match="this fact is about the whole workspace, not about 'src'"):
        facts(tmp_path, "git status src")
    with pytest.raises(RefusedPathError):
        facts(tmp_path, "syntax ../x.py")
    with pytest.raises(RefusedPathError, match=r"as a key it is spelled 'src/x\.py'"):
        facts(tmp_path, "syntax ./src/x.py")
