"""Image files of kinds that Pillow does not write."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

PROJECTED, GEOGRAPHIC = (1024, 0, 1, 1), (1024, 0, 1, 2)
METRE, FOOT, UNKNOWN = (3076, 0, 1, 9001), (3076, 0, 1, 9002), (3076, 0, 1, 9099)  # keys of GeoTIFF


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def write_png(path, pixels, bits, color, size=None):
    """A PNG file of any depth and colour type, which Pillow cannot write. ``size`` (height, width) lies about the size."""
    height, width = size or pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2" if bits == 16 else np.uint8).tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def write_tiff(path, pixels, **options):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(path, pixels, **options)
    return path


def write_geotiff(path, keys, scale=(0.002, 0.002, 0.0), transformation=None, pixels=None):
    """A TIFF file with the tags of a GeoTIFF."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags.tagtype[34735], tags[34735] = 3, (1, 1, 0, len(keys), *(value for key in keys for value in key))
    if scale:
        tags.tagtype[33550], tags[33550] = 12, scale
    if transformation:
        tags.tagtype[34264], tags[34264] = 12, transformation
    Image.fromarray(np.zeros((4, 4), np.uint8) if pixels is None else pixels).save(path, tiffinfo=tags)
    return path
