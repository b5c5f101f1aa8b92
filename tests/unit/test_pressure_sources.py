"""Where memory pressure is read from, on file systems made up for the purpose and, where there is one, on the real."""

import asyncio
import sys
from pathlib import Path

import pytest

from preloader.scheduling import pressure_sources
from preloader.scheduling.execution import InlineExecutor
from preloader.scheduling.pressure import Reading
from preloader.scheduling.pressure_gauge import readable
from preloader.scheduling.pressure_sources import CgroupV1, CgroupV2, StallInformation, SystemMemory, stall_trigger

PSI = "some avg10={:.2f} avg60=0.00 avg300=0.00 total=7\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
OPEN = Path("/proc/self/fd")
NO_LIMIT_V1 = "9223372036854771712\n"


def write(place, **files):
    place.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (place / name.replace("__", ".")).write_text(text)


def v2(place, current, maximum="max", high="max", cold=0, stalled=0.0):
    write(place, memory__current=f"{current}\n", memory__max=f"{maximum}\n", memory__high=f"{high}\n")
    write(place, memory__stat=f"anon 1\ninactive_file {cold}\n", memory__pressure=PSI.format(stalled))


def v1(place, usage, limit=NO_LIMIT_V1, cold=0):
    write(place, memory__usage_in_bytes=f"{usage}\n", memory__limit_in_bytes=f"{limit}\n")
    write(place, memory__stat=f"cache 9\ninactive_file 1\ntotal_inactive_file {cold}\n")


def test_cgroup_v2_sets_what_is_used_but_for_cold_files_against_the_lower_limit(tmp_path):
    v2(tmp_path, 90, maximum=200, high=100, cold=10, stalled=12.5)
    assert CgroupV2([tmp_path]).read() == Reading(used=0.8, stalled=0.125)


def test_a_limit_further_up_counts_too_and_no_limit_says_nothing(tmp_path):
    v2(tmp_path, 90, maximum=100)
    v2(tmp_path / "inner", 10)
    assert CgroupV2([tmp_path / "inner", tmp_path]).read().used == pytest.approx(0.9)
    assert CgroupV2([tmp_path / "inner"]).read().used is None


def test_cgroup_v1_sets_what_is_used_but_for_cold_files_against_the_limit(tmp_path):
    v1(tmp_path / "inner", 60, limit=100, cold=10)
    v1(tmp_path, 80)
    assert CgroupV1([tmp_path / "inner", tmp_path]).read() == Reading(used=0.5)
    assert CgroupV1([tmp_path]).read() == Reading()


def test_stall_information_is_a_share(tmp_path):
    write(tmp_path, memory=PSI.format(33.0))
    assert StallInformation(tmp_path / "memory").read() == Reading(stalled=0.33)


@pytest.mark.parametrize("text", ["", "some avg10=much\n", "nonsense\n"])
def test_what_is_no_stall_information_is_an_error_or_says_nothing(tmp_path, text):
    write(tmp_path, memory=text)
    try:
        reading = StallInformation(tmp_path / "memory").read()
    except ValueError:
        return
    assert reading == Reading()


def sources_that_can_be_read(root=Path("/")):
    return asyncio.run(readable(pressure_sources.machine_sources(root), InlineExecutor()))


def machine(root, cgroup, mounts):
    write(root / "proc/self", cgroup=cgroup, mountinfo=mounts)
    write(root / "proc/pressure", memory=PSI.format(0.0))


def found(root):
    return {source.name: source.read() for source in sources_that_can_be_read(root)}


linux = pytest.mark.skipif(sys.platform == "darwin", reason="macOS has neither cgroups nor /proc")


@linux
def test_the_unified_hierarchy_is_found_where_it_is_mounted(tmp_path):
    machine(tmp_path, "0::/a/b\n", "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
    v2(tmp_path / "sys/fs/cgroup/a/b", 10, maximum=100)
    v2(tmp_path / "sys/fs/cgroup/a", 30, maximum=40)
    readings = found(tmp_path)
    assert readings["cgroup v2"].used == 0.75
    assert set(readings) == {"system", "psi", "cgroup v2"}
    assert pressure_sources.memory_cgroup(tmp_path) == (tmp_path / "sys/fs/cgroup/a/b", 2)


@linux
def test_a_container_that_sees_only_its_own_part_is_found_at_the_mount(tmp_path):
    machine(tmp_path, "4:memory:/docker/x\n", "9 1 0:1 /docker/x /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n")
    v1(tmp_path / "sys/fs/cgroup/memory", 95, limit=100)
    assert found(tmp_path)["cgroup v1"].used == 0.95


@linux
def test_a_path_that_is_only_the_hosts_is_looked_for_at_the_mount(tmp_path):
    machine(tmp_path, "4:cpu,memory:/host/y\n", "9 1 0:1 / /sys/fs/cgroup/memory ro - cgroup cgroup rw,cpu,memory\n")
    v1(tmp_path / "sys/fs/cgroup/memory", 95, limit=100)
    assert found(tmp_path)["cgroup v1"].used == 0.95


@linux
@pytest.mark.parametrize(
    ("cgroup", "mounts"),
    [
        ("nonsense\n", ""),
        ("0::/a\n", "31 23 - cgroup2\n - \n\n31 23 0:28 / /sys\n"),
        ("4:memory:/a", "1 2 3 4 5 - cgroup"),
    ],
)
def test_cgroup_files_that_make_no_sense_hide_no_other_source(tmp_path, cgroup, mounts):
    machine(tmp_path, cgroup, mounts)
    assert set(found(tmp_path)) == {"system", "psi"}


@linux
def test_a_mount_point_with_a_blank_is_found(tmp_path):
    machine(tmp_path, "0::/a\n", r"31 23 0:28 / /my\040groups rw - cgroup2 cgroup2 rw")
    v2(tmp_path / "my groups/a", 75, maximum=100)
    assert found(tmp_path)["cgroup v2"].used == 0.75


@linux
def test_without_proc_the_system_is_all_there_is(tmp_path):
    assert set(found(tmp_path)) == {"system"}
    assert 0.0 < SystemMemory().read().used < 1.0


def test_the_sources_of_this_machine_can_be_read():
    sources = sources_that_can_be_read()
    assert sources
    assert all(isinstance(source.read(), Reading) for source in sources)


def test_the_kernel_calls_or_does_not_and_nothing_is_left_open(tmp_path):
    async def main():
        before = descriptors()
        with stall_trigger(asyncio.get_running_loop(), lambda: None) as is_set:
            assert is_set in (True, False)
            await asyncio.sleep(0)
        with stall_trigger(asyncio.get_running_loop(), lambda: None, tmp_path / "none") as is_set:
            assert not is_set
        (tmp_path / "plain").write_text("")
        with stall_trigger(asyncio.get_running_loop(), lambda: None, tmp_path / "plain") as is_set:
            assert not is_set  # an ordinary file cannot be polled
        assert descriptors() == before

    def descriptors():
        return sorted(OPEN.iterdir()) if OPEN.is_dir() else []

    asyncio.run(main())
