"""The memory that a computation keeps for its next arrays."""

import platform
import resource

import psutil
import pytest
import torch

from crack_utils.networks.memory import memory_kept

MIB = 2**20

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the C library of most Linux systems has these settings")


def new_pages(n: int) -> int:
    """Pages that the system clears while an array of ``n`` MiB is made and freed."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(n * MIB // 4)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_later_arrays_take_the_memory_of_earlier_ones():
    pages = 64 * MIB // resource.getpagesize()
    with memory_kept():
        taken = [new_pages(64) for _ in range(8)]
        assert taken[0] >= pages  # the counter works
        assert sum(taken) <= 4 * pages and taken[-1] < pages / 10
        inside = psutil.Process().memory_info().rss
    assert psutil.Process().memory_info().rss < inside - 48 * MIB  # the system has the memory again
