"""Geometry of a mask that is too large to measure at once: the mask is measured window by window."""

from collections.abc import Callable

import numpy as np

from crack_utils.scoring.geometry import crack_widths, geometry_of, link_counts, skeleton

WINDOW = 1024  # px, the side of a window
HALO = 256  # px that are looked at around a window: up to this width, a crack is measured as in the whole mask


def geometry_by_windows(
    rows: Callable[[int, int], np.ndarray], size: tuple[int, int], window: int = WINDOW, halo: int = HALO
) -> dict[str, float]:
    """The result of :func:`crack_utils.scoring.crack_geometry` for a mask of which only some rows are in memory.

    The result is the same up to rounding if no crack is wider than the halo. A wider crack comes out too narrow, at least 2 halos
    wide, and its length may differ.

    Args:
        rows: returns the mask's rows from a first one to before a last one, (n, W) bool.
        size: (height, width) of the mask.
    """
    (height, width), counts, widths = size, np.zeros(3, np.int64), [np.zeros(0)]
    for top in range(0, height, window):
        first, bottom = max(0, top - halo), min(height, top + window)
        band = rows(first, min(height, bottom + halo))
        for left in range(0, width, window):
            start, right = max(0, left - halo), min(width, left + window)
            mask = band[:, start : min(width, right + halo)]
            part = np.s_[top - first : bottom - first, left - start : right - start]
            if not mask[part[0].start : part[0].stop + 1, part[1].start : part[1].stop + 1].any():
                continue
            line = skeleton(mask)
            counts += link_counts(np.pad(line, 1)[part[0].start : part[0].stop + 2, part[1].start : part[1].stop + 2])
            inside = np.zeros_like(line)
            inside[part] = line[part]
            widths.append(crack_widths(mask, inside).astype(float))
    found = np.concatenate(widths)
    if not (full := np.isnan(found)).all():  # in a window that is all crack, no edge is near enough to measure
        found[full] = 2 * halo
    return geometry_of(counts, found, height * width)
