"""What a container or a job lets this process use."""

import os

import pytest

from crack_utils.config import usable_cores, usable_memory_gib


@pytest.fixture
def limits(tmp_path):
    """A function that writes the limits of control groups, as (file, text), and the groups of this process."""

    def write(groups, *files):
        (tmp_path / "own").write_text(groups)
        for name, text in files:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path, tmp_path / "own"

    return write


def test_without_limits_all_of_the_machine_counts(limits, tmp_path):
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert usable_cores(tmp_path / "none", tmp_path / "none") == cores
    whole = usable_memory_gib(tmp_path / "none", tmp_path / "none")
    unlimited = limits("0::/\n", ("cpu.max", "max 100000\n"), ("memory.max", "max\n"))
    assert (usable_cores(*unlimited), usable_memory_gib(*unlimited)) == (cores, whole)


def test_the_limits_of_a_container_count_in_both_versions_of_control_groups(limits):
    second = limits("0::/\n", ("cpu.max", "100000 100000\n"), ("memory.max", f"{2**30}\n"))
    assert (usable_cores(*second), usable_memory_gib(*second)) == (1, 1)
    first = limits(
        "4:memory:/job\n1:cpu:/job\n",
        ("cpu/job/cpu.cfs_quota_us", "50000\n"),
        ("cpu/job/cpu.cfs_period_us", "100000\n"),
        ("memory/job/memory.limit_in_bytes", f"{2**29}\n"),
    )
    assert (usable_cores(*first), usable_memory_gib(*first)) == (1, 0.5)


def test_a_job_s_limit_may_stand_in_a_group_around_its_step(limits):
    found = limits("0::/slurm/job_7/step_0\n", ("slurm/job_7/memory.max", f"{3 * 2**30}\n"), ("slurm/job_7/step_0/memory.max", "max\n"))
    assert usable_memory_gib(*found) == min(3, usable_memory_gib())
