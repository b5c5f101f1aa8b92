"""The ring and its records: order, exactly once, and the layout that C agrees on."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preloader.ring import BACKEND, Record, Ring
from preloader.ring.record import LAYOUT

HEADER = Path(__file__).parents[2] / "native" / "record.h"

records = st.builds(
    Record,
    resource=st.integers(0, 2**32 - 1),
    probability=st.floats(0.0, 1.0),
    steps=st.integers(1, 255),
    flags=st.integers(0, 255),
    deadline_ms=st.integers(0, 2**32 - 1),
    generation=st.integers(0, 2**32 - 1),
)


def test_the_backend_is_named():
    assert {"c": "preloader.ring._native", "python": "preloader.ring.twin"}[BACKEND] == Ring.__module__


def python(code, **environment):
    run = [sys.executable, "-W", "always", "-c", code]
    return subprocess.run(run, env={**os.environ, **environment}, capture_output=True, text=True, check=True)


def test_falling_back_warns_once_and_the_chosen_twin_does_not():
    broken = (
        "import sys; sys.modules['preloader.ring._native'] = None;"
        "import preloader.ring as ring; import preloader; print(ring.BACKEND)"
    )
    fallen = python(broken, PRELOADER_RING="")
    assert fallen.stdout == "python\n"
    assert fallen.stderr.count("RuntimeWarning: the compiled ring is missing") == 1
    chosen = python(broken, PRELOADER_RING="python")
    assert (chosen.stdout, chosen.stderr) == ("python\n", "")


def test_a_compiled_ring_of_other_sources_is_refused():
    stale = (
        "import sys, types; sys.modules['preloader.ring._native'] = old = types.ModuleType('old');"
        "old.__file__ = 'old.so'; old.Ring = None;"
        "import preloader.ring as ring; print(ring.BACKEND, len(ring.Ring(3)))"
    )
    refused = python(stale, PRELOADER_RING="")
    assert refused.stdout == "python 0\n"
    assert refused.stderr.count("RuntimeWarning: the compiled ring old.so has interface 0 and not ") == 1


def test_a_ring_wraps_keeps_order_and_refuses_when_full():
    ring, taken, put = Ring(3), [], 0
    for round_ in range(10):
        while ring.try_put(Record(put, 0.5, 1)):
            put += 1
        assert len(ring) == 3
        taken += [record.resource for record in ring.get_records(1 + round_ % 3)]
    taken += [record.resource for record in ring.get_records(100)]
    assert taken == list(range(put))
    assert ring.get_records(5) == []


def test_a_ring_needs_room():
    with pytest.raises(ValueError, match="at least 1 record, not 0"):
        Ring(0)


@given(records)
@settings(derandomize=True)
def test_a_record_comes_back_as_it_was_put(record):
    ring = Ring(1)
    assert ring.try_put(record)
    (back,) = ring.get_records(1)
    assert back._replace(probability=0.0) == record._replace(probability=0.0)
    assert abs(back.probability - record.probability) <= 0.5 / 65_535 + 1e-12
    assert len(record.pack()) == 16


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"probability": 1.01}, "probability must lie between 0 and 1, not 1.01"),
        ({"probability": float("nan")}, "probability"),
        ({"steps": 0}, "steps must lie between 1 and 255, not 0"),
        ({"steps": 256}, "steps"),
        ({"resource": -1}, "does not fit"),
        ({"deadline_ms": 2**32}, "does not fit"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(fields, message):
    ring = Ring(1)
    with pytest.raises(ValueError, match=message):
        ring.try_put(Record(**{"resource": 0, "probability": 0.5, "steps": 1, **fields}))
    assert len(ring) == 0


PROGRAM = r"""
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include "record.h"

int main(void) {
    preloader_record record = {0x01020304u, 0x0506u, 0x07u, 0x08u, 0x090a0b0cu, 0x0d0e0f10u};
    unsigned char bytes[sizeof record];
    memcpy(bytes, &record, sizeof record);
    printf("{\"size\": %zu, \"offsets\": [%zu, %zu, %zu, %zu, %zu, %zu], \"bytes\": \"", sizeof record,
           offsetof(preloader_record, resource), offsetof(preloader_record, probability),
           offsetof(preloader_record, steps), offsetof(preloader_record, flags),
           offsetof(preloader_record, deadline_ms), offsetof(preloader_record, generation));
    for (size_t at = 0; at < sizeof record; at++) printf("%02x", bytes[at]);
    printf("\"}\n");
    return 0;
}
"""


def test_c_lays_a_record_out_as_python_packs_it(tmp_path):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) on this machine")
    source, program = tmp_path / "record.c", tmp_path / "record"
    source.write_text(PROGRAM)
    strict = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    subprocess.run([compiler, *strict, f"-I{HEADER.parent}", str(source), "-o", str(program)], check=True)
    said = json.loads(subprocess.run([str(program)], check=True, capture_output=True).stdout)
    record = Record(0x01020304, 0x0506 / 65_535, 0x07, 0x08, 0x090A0B0C, 0x0D0E0F10)
    assert said["size"] == LAYOUT.size == 16
    assert said["offsets"] == [0, 4, 6, 7, 8, 12]
    assert bytes.fromhex(said["bytes"]) == record.pack()
