"""The size of a pixel on the ground, as a GeoTIFF states it."""

import math
from pathlib import Path

from PIL import Image

from crack_utils.data.photos import opened

SCALE, TRANSFORMATION, GEO_KEYS = 33550, 34264, 34735  # tags of the GeoTIFF standard 1.1 (OGC 19-008r4)
MODEL_TYPE, COORDINATES, LINEAR_UNITS = 1024, 3072, 3076  # its keys
WEB_MERCATOR = (3857, 3785, 900913)  # coordinates of web maps: their metres are longer than those on the ground, except at the equator
GEOGRAPHIC = 2  # a value of the model type
MM_PER_UNIT = {9001: 1000.0, 9002: 304.8, 9003: 1200 / 3937 * 1000}  # EPSG codes of metre, foot, US survey foot
UTM = {*range(32601, 32661), *range(32701, 32761), *range(25828, 25839)}  # coordinates in metres (WGS 84, ETRS89); others may be in feet
LEAST_EVEN = 0.99  # the shorter side of a pixel as a share of the longer one, above which a pixel counts as square


def ground_scale(path: Path) -> tuple[float | None, str]:
    """The side of a pixel in mm or None, and a sentence: where the size comes from, or why a GeoTIFF gives none; "" for other files."""
    with opened(path) as file:
        if file.format != "TIFF" or not (GEO_KEYS in file.tag_v2 and (SCALE in file.tag_v2 or TRANSFORMATION in file.tag_v2)):
            return None, ""
        keys, sides = _geo_keys(file), _pixel_sides(file)
    if keys.get(MODEL_TYPE) == GEOGRAPHIC:
        return None, "The GeoTIFF gives the side of a pixel in degrees, not in metres, so no length is in mm; give --mm-per-px."
    if keys.get(COORDINATES) in WEB_MERCATOR:
        return None, "The GeoTIFF is drawn for web maps, whose metres are no metres on the ground, so no length is in mm; give --mm-per-px."
    unit = keys.get(LINEAR_UNITS, 9001 if keys.get(COORDINATES) in UTM else None)
    if unit not in MM_PER_UNIT:
        return None, "The GeoTIFF gives the side of a pixel in no unit that is known, so no length is in mm; give --mm-per-px."
    if not min(sides) > 0 or not math.isfinite(max(sides)) or min(sides) < LEAST_EVEN * max(sides):
        return None, f"The GeoTIFF's pixels have sides of {sides[0]:g} and {sides[1]:g}, so no length is in mm; give --mm-per-px."
    return math.sqrt(sides[0] * sides[1]) * MM_PER_UNIT[unit], "The side of a pixel comes from the GeoTIFF."


def _geo_keys(file: Image.Image) -> dict[int, int]:
    """The keys whose value stands in the directory itself; those with text or decimals are not needed here."""
    numbers = file.tag_v2[GEO_KEYS]
    entries = [numbers[at : at + 4] for at in range(4, len(numbers) - 3, 4)]
    return {key: value for key, place, _, value in entries if place == 0}


def _pixel_sides(file: Image.Image) -> tuple[float, float]:
    """The two sides of a pixel, in the unit of the file's coordinates."""
    if SCALE in file.tag_v2:
        return tuple(map(float, file.tag_v2[SCALE][:2]))
    matrix = [float(value) for value in file.tag_v2[TRANSFORMATION]]
    return math.hypot(matrix[0], matrix[4]), math.hypot(matrix[1], matrix[5])
