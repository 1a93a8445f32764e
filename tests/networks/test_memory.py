"""The memory that a computation keeps for its next arrays."""

import json
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import json, resource
import psutil, torch
from crack_utils.networks.memory import memory_kept

def new_pages():
    "Pages that the system clears while a few arrays of several sizes are made and freed, as in a training step."
    before, held = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, []
    for size in (64, 30, 15, 30, 7, 64, 3, 20):
        held = [*held[-3:], torch.ones(size * 2**20 // 4)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

with memory_kept():
    steps, inside = [new_pages() for _ in range(12)], psutil.Process().memory_info().rss
print(json.dumps([steps, inside - psutil.Process().memory_info().rss]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the C library of most Linux systems has these settings")
def test_later_arrays_take_the_memory_of_earlier_ones():
    process = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)  # its memory is in no disorder
    steps, given_back = json.loads(process.stdout)
    assert sum(steps[6:]) < steps[0] / 10
    assert given_back > 48 * 2**20  # bytes
