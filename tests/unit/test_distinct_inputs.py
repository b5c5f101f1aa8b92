"""Inputs that an export is verified on: none twice, and as many as there are."""

import numpy as np
import pytest

from preloader.learning.distinct import choose_distinct, distinct


def inputs_of(values):
    values = np.asarray(values)
    return {"whole": values[:, None] // 10, "part": values % 10}


def test_rows_that_are_the_same_in_every_input_are_one():
    kept = distinct(inputs_of([12, 21, 12, 11, 21]))
    assert (kept["whole"][:, 0] * 10 + kept["part"]).tolist() == [12, 21, 11]


@pytest.mark.parametrize("total", [1, 7, 64, 1_000])
def test_evenly_spaced_examples_are_chosen_where_those_differ(total):
    chosen = choose_distinct(total, 7, inputs_of)
    spaced = np.linspace(0, total - 1, 7).astype(np.int64)
    assert chosen.tolist() == (spaced.tolist() if total >= 7 else [0] * 7)


def test_it_is_looked_on_where_those_are_the_same():
    values = np.zeros(1_000, np.int64)
    values[501:509] = range(1, 9)  # between the evenly spaced ones
    chosen = choose_distinct(1_000, 9, lambda numbers: inputs_of(values[numbers]))
    assert sorted(values[chosen].tolist()) == list(range(9))


def test_examples_are_chosen_again_only_when_there_are_no_more():
    chosen = choose_distinct(100, 8, lambda numbers: inputs_of(numbers % 3))
    assert len(chosen) == 8
    assert set((chosen % 3).tolist()) == {0, 1, 2}
    assert len(set(chosen.tolist())) == 3
