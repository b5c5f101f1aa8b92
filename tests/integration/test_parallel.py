"""Work divided among threads, processes and two worker processes of a real cluster: the same results, clean ends."""

import logging
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial

import numpy as np
import psutil
import pytest

from preloader.errors import ConfigurationError, HistoryError, WorkError
from preloader.history import group_sessions
from preloader.history.partitions import PartitionedHistory, write_partitions
from preloader.learning.parallel import Backend
from preloader.learning.shards import write_shards
from preloader.testing import random_events
from tests.integration import parallel_work as work

distributed = pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def scheduler():
    """Two worker processes and a scheduler that talk over the loopback interface."""
    quiet = {"silence_logs": logging.CRITICAL, "dashboard_address": None}
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, **quiet) as cluster:
        yield cluster.scheduler_address


@pytest.fixture(params=["serial", "threading", "loky", "dask"])
def backend(request):
    if request.param == "dask":
        return Backend("dask", scheduler=request.getfixturevalue("scheduler"))
    return Backend(request.param, jobs=None if request.param == "serial" else 2)


def test_results_are_those_of_one_process_bit_for_bit_and_in_order(backend):
    done = []
    results = backend.map(work.digest, range(25), describe=work.user, on_done=done.append)
    assert results == [work.digest(number) for number in range(25)]
    assert done == [f"user {number}" for number in range(25)]
    assert backend.map(work.digest, []) == []


def test_work_is_done_by_several_processes_on_one_thread_each(backend, tmp_path):
    wanted = 1 if backend.kind in ("serial", "threading") else 2
    processes = set(backend.map(partial(work.meet, folder=tmp_path, wanted=wanted), range(10)))
    assert (processes == {os.getpid()}) == (backend.kind in ("serial", "threading"))
    assert len(processes) == (1 if backend.kind in ("serial", "threading") else 2)
    assert set(backend.map(work.threads, range(4))) == {1}


@pytest.mark.parametrize("kind", ["serial", "threading"])
def test_torch_computes_on_one_thread_and_afterwards_on_as_many_as_before(kind):
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        assert set(Backend(kind, jobs=2).map(work.torch_threads, range(6))) == {1}
        with pytest.raises(WorkError):
            Backend(kind, jobs=2).map(work.divide, range(8))
        assert torch.get_num_threads() == 2
        with ThreadPoolExecutor(1) as other:
            assert other.submit(torch.get_num_threads).result() == 2  # nor for threads that begin later
    finally:
        torch.set_num_threads(before)


def test_an_error_names_the_item_in_one_sentence(backend):
    with pytest.raises(HistoryError) as refused:
        backend.map(work.refuse, range(8), describe=work.user)
    assert str(refused.value) == "user 3: its sessions are empty"
    with pytest.raises(WorkError) as raised:
        backend.map(work.divide, range(8), describe=work.user)
    assert str(raised.value) == "user 3: ZeroDivisionError: division by zero"
    assert "in divide" in raised.value.__notes__[0]  # where it happened is kept for whoever debugs
    assert backend.map(work.refuse, range(2)) == [0, 1]


def test_what_cannot_be_sent_to_a_worker_is_told():
    lock = threading.Lock()
    with pytest.raises(WorkError, match=r"^the work cannot be sent to another process"):
        Backend("loky", jobs=2).map(partial(max, lock), range(4))


def test_an_error_of_whatever_yields_the_items_is_raised(backend):
    def items():
        yield from range(3)
        raise HistoryError("there are no more users")

    with pytest.raises(HistoryError, match=r"^there are no more users$"):
        backend.map(work.refuse, items())


def test_items_are_taken_as_they_are_needed_and_the_rest_is_not_done(backend):
    taken = []

    def items():
        for number in range(1_000):
            taken.append(number)
            yield number

    stream = backend.stream(work.refuse, (number + 10 for number in items()))
    assert next(stream) == 10
    stream.close()
    assert len(taken) < 500


@pytest.mark.parametrize("kind", ["loky", "dask"])
def test_a_worker_that_dies_is_reported_and_the_next_work_succeeds(kind):
    with UnguardedCluster(workers=2, failures=0) if kind == "dask" else nullcontext() as address:
        check_death(Backend(kind, jobs=2 if kind == "loky" else None, scheduler=address))


def check_death(backend):
    with pytest.raises(WorkError, match=r"^a worker died at user \d or one of the \d after it, [^\n]*fewer --jobs"):
        backend.map(work.die, range(8), describe=work.user)
    assert backend.map(work.refuse, range(2)) == [0, 1]


def test_a_cluster_that_loses_all_its_workers_is_given_up(monkeypatch):
    """Without a nanny nobody starts a worker anew; joblib alone would wait for ever."""
    monkeypatch.setattr("preloader.learning.dask_backend.PATIENCE_S", 1.0)
    with UnguardedCluster(workers=1, failures=3) as address, pytest.raises(WorkError, match="without workers for 1 s"):
        Backend("dask", scheduler=address).map(work.die, range(8), describe=work.user)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_its_parent(how):
    code = (
        "import signal\n"
        "from preloader.learning.parallel import Backend\n"
        "from tests.integration import parallel_work as work\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in what a shell runs in the background
        "for number in Backend('loky', jobs=2).stream(work.process, range(100_000)): print(number, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        process.stdout.readline()
        workers = psutil.Process(process.pid).children(recursive=True)
        assert len(workers) >= 2
        process.send_signal(how)
        process.wait()
        _, alive = psutil.wait_procs(workers, timeout=20)
        assert not alive


@pytest.mark.parametrize("address", ["nonsense", "foo://x:1", "tcp://127.0.0.1:1", "tcp://127.0.0.1:99999"])
def test_a_wrong_scheduler_is_told(address):
    with pytest.raises(ConfigurationError, match=f"^--scheduler '{address}' does not answer as a Dask scheduler: "):
        Backend("dask", scheduler=address).map(work.refuse, range(2))


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "spark"},
        {"jobs": 0},
        {"kind": "dask"},
        {"scheduler": "tcp://localhost:8786"},
        {"kind": "dask", "scheduler": "tcp://localhost:8786", "jobs": 2},
    ],
)
def test_settings_that_do_not_fit_are_refused(settings):
    with pytest.raises(ConfigurationError, match=r"^--"):
        Backend(**settings)


def test_shards_of_partitions_are_the_same_wherever_they_are_made(backend, tmp_path):
    pytest.importorskip("pyarrow")
    events = random_events(seed=9, users=5, sessions=2, length=8)
    write_partitions(events, tmp_path / "history")
    shards = write_shards(
        tmp_path / "shards", PartitionedHistory(tmp_path / "history").partitions(), work.features, {"v": 1}, backend
    )
    here = [work.features([one for one in group_sessions(events) if one.user == user]) for user in shards.users]
    everything = shards.take(range(len(shards)))
    for name in ("used", "times"):
        assert np.array_equal(everything[name], np.concatenate([arrays[name] for arrays in here]))


class UnguardedCluster:
    """Workers as ``dask worker --no-nanny`` starts them: nobody starts them anew when they die.

    Args:
        workers: How many.
        failures: How many deaths of workers the scheduler forgives a task.
    """

    def __init__(self, workers, failures):
        self._workers = workers
        self._environment = {**os.environ, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(failures)}
        self._processes = []

    def __enter__(self):
        self._start("dask_scheduler", "--host", "127.0.0.1", "--port", "0")
        lines = self._processes[0].stderr
        address = next(word for line in lines for word in line.split() if word.startswith("tcp://"))
        for _ in range(self._workers):
            self._start("dask_worker", address, "--no-nanny", "--nthreads", "1")
        return address

    def __exit__(self, *exception):
        for process in self._processes:
            process.kill()
            process.wait()
            process.stderr.close()

    def _start(self, module, *arguments):
        command = [sys.executable, "-m", f"distributed.cli.{module}", *arguments, "--no-dashboard"]
        self._processes.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=self._environment))
