"""The memory of arrays that a computation frees and needs again."""

import contextlib
import ctypes
import platform
from collections.abc import Iterator

TRIM, MMAP_AT, MMAPS = -1, -3, -4  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD and M_MMAP_MAX of malloc.h
MOST_FREE = 2**31 - 1  # bytes, the largest value that mallopt takes


@contextlib.contextmanager
def memory_kept() -> Iterator[None]:
    """Keep the memory of freed arrays for the next ones. Afterwards, the system gets the memory back.

    The C library of Linux gives the memory of large arrays back at once. The next array gets new pages, and the system clears each of them
    when it is first used. In a training step on a CPU, that takes longer than the arithmetic of many layers. Other systems have other
    rules, and there the block changes nothing.
    """
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(MMAPS, 0)
    libc.mallopt(TRIM, MOST_FREE)
    try:
        yield
    finally:  # the values that the C library arrives at by itself when a program frees large arrays (man mallopt)
        for option, value in ((MMAPS, 65536), (MMAP_AT, 2**25), (TRIM, 2**26)):
            libc.mallopt(option, value)
        libc.malloc_trim(0)
