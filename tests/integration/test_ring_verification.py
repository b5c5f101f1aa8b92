"""The quick parts of `make verify-native`: C tests plain and under sanitizers, the explorer, and the mutants' table."""

import pytest

from native.verify import c_tests, explorer_step, mutants
from native.verify.shell import NATIVE, StepFailedError, StepSkippedError, demand, run


def or_skip(check, *arguments, **keywords):
    try:
        return check(*arguments, **keywords)
    except StepSkippedError as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("flags", [("-O2",), ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")])
def test_one_thread_sees_a_ring_as_it_should_be(flags, tmp_path):
    sanitizer = [flag for flag in flags if flag.startswith("-fsanitize")]
    if sanitizer and not c_tests.able("cc", sanitizer[0], tmp_path):
        pytest.skip(f"no program built with {sanitizer[0]} runs here")
    finished = or_skip(c_tests.run_one, NATIVE, tmp_path, "test_ring", flags=flags)
    assert finished.ok, finished.output


def test_many_threads_take_every_record_once_and_in_order(tmp_path):
    finished = or_skip(c_tests.run_one, NATIVE, tmp_path, "stress_ring", "0", timeout_s=100)
    assert finished.ok, finished.output


def test_the_explorer_knows_what_c11_allows(tmp_path):
    program = or_skip(explorer_step.build_litmus, tmp_path)
    assert demand([program], "litmus").last_line == "litmus: 16 programs, 0 wrong"


def test_no_wake_up_is_lost_and_a_weaker_order_would_lose_one(tmp_path):
    only = "a sleeper and a poster"
    sound = or_skip(explorer_step.build_scenarios, NATIVE / "ring.c", tmp_path / "sound")
    assert run([sound, only]).ok
    broken = {mutant.name: mutant for mutant in mutants.read_table()}["arm is a seq_cst store"]
    for header in NATIVE.glob("*.h"):
        (tmp_path / header.name).write_bytes(header.read_bytes())
    source = tmp_path / "ring.c"
    source.write_text(broken.apply(mutants.SOURCE.read_text()))
    weaker = run([explorer_step.build_scenarios(source, tmp_path / "weaker"), only])
    assert not weaker.ok
    assert "deadlock: everyone who has not ended sleeps" in weaker.output


def test_every_mutant_still_fits_the_source_and_every_order_has_one():
    source, table = mutants.SOURCE.read_text(), mutants.read_table()
    for mutant in table:
        assert mutant.apply(source) != source
    assert mutants.unweakened_orders(table, source) == []


def test_a_mutant_that_no_longer_fits_is_refused():
    with pytest.raises(StepFailedError, match="applies 0 times"):
        mutants.Mutant(name="gone", find="not there", replace="").apply("int main(void);")


def test_an_order_that_no_mutant_weakens_is_found():
    source = "/* RELEASE */ int x = load(&x, ACQUIRE);\n"
    assert mutants.unweakened_orders([], source) == ["/* RELEASE */ int x = load(&x, ACQUIRE);"]
