"""A program in C posts hints into a ring in shared memory; Python, in another process, takes them."""

import shutil
import subprocess
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

import pytest

from preloader.ring import Ring

NATIVE = Path(__file__).parents[2] / "native"
COMPILER = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler is installed")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    made = tmp_path_factory.mktemp("native") / "post_hints"
    sources = [NATIVE / "examples" / "post_hints.c", NATIVE / "post.c", NATIVE / "ring.c"]
    subprocess.run([COMPILER, "-std=c11", "-O2", "-Wall", "-Wextra", f"-I{NATIVE}", *sources, "-o", made], check=True)
    return made


@pytest.fixture
def shared():
    memory = SharedMemory(create=True, size=Ring.size_for(3))
    yield memory
    memory.close()
    memory.unlink()


@needs_compiler
def test_a_c_program_posts_hints_that_python_takes(program, shared):
    ring = Ring(3, buffer=shared.buf)
    producer = subprocess.Popen([program, shared.name, "500"], stdout=subprocess.PIPE, text=True)
    hints = []
    while len(hints) < 500:
        taken = ring.get_records(2)
        hints += taken
        assert taken or producer.poll() in {None, 0}
    said, _ = producer.communicate()
    assert said == "500 posted, 0 wake-ups\n"
    assert [hint.resource for hint in hints] == list(range(500))
    assert {(round(hint.probability, 3), *hint[2:]) for hint in hints} == {(0.75, 1, 0, 0, 7)}
    assert len(ring) == 0
    ring.close()


@needs_compiler
def test_it_says_what_is_wrong_with_the_memory(program, shared):
    empty = subprocess.run([program, shared.name, "1"], capture_output=True, text=True)
    assert (empty.returncode, empty.stderr) == (
        1,
        f"{shared.name}: there is no ring in this memory, or it is not ready yet\n",
    )
    missing = subprocess.run([program, "no-such-ring", "1"], capture_output=True, text=True)
    assert (missing.returncode, missing.stderr) == (1, "no-such-ring: No such file or directory\n")


@pytest.mark.skipif(COMPILER is None or shutil.which("make") is None, reason="no C compiler or no make is installed")
def test_the_c_tests_pass(tmp_path):
    made = subprocess.run(
        ["make", "-C", NATIVE, "test", f"CC={COMPILER}", f"BUILD={tmp_path}", "STRESS_S=0"],
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    assert "every record once and in order" in made.stdout
