"""The memory that a computation keeps for its next arrays."""

import platform
import resource

import psutil
import pytest
import torch

from crack_utils.networks.memory import memory_kept

MIB = 2**20

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the C library of most Linux systems has these settings")


def new_pages() -> int:
    """Pages that the system clears while a few arrays of several sizes are made and freed, as in a training step."""
    before, held = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, []
    for size in (64, 30, 15, 30, 7, 64, 3, 20):
        held = [*held[-3:], torch.ones(size * MIB // 4)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_later_arrays_take_the_memory_of_earlier_ones():
    with memory_kept():
        steps = [new_pages() for _ in range(12)]
        assert steps[0] > 64 * MIB / resource.getpagesize()
        assert sum(steps[6:]) < steps[0] / 10
        inside = psutil.Process().memory_info().rss
    assert psutil.Process().memory_info().rss < inside - 48 * MIB  # the system has the memory again
