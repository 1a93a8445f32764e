"""Memory and time of a search of large photos: ``python -m crack_utils bench photo``."""

import re
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile  # scikit-image needs it too
import torch
from PIL import Image

from crack_utils.config import parse_parameters
from crack_utils.data.png_rows import packed
from crack_utils.evaluation import Predictor
from crack_utils.reporting.photo import predict_file

SIDE = 20_000  # px of the photo's height and width
TILE = 512  # px of the drawn piece of road that is repeated
KINDS = {"tiled TIFF": "a.tif", "PNG": "b.png", "JPEG": "c.jpg"}  # and their files


class Darkness(torch.nn.Module):
    """Calls dark pixels crack, in the place of a trained network, whose own memory does not depend on the photo."""

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seg_logits = 50 * (0.3 - image.mean(1, keepdim=True))
        return seg_logits.amax((2, 3)), seg_logits


class DarknessPredictor(Predictor):
    """A predictor without a run."""

    def __init__(self) -> None:
        self.params, self.input_size, self.scale = parse_parameters({"dataset": "folder", "data_root": "road"}), (360, 640), 1.0
        self.threshold, self.decision_threshold = 0.5, 0.5
        self.device, self.precision, self.model = torch.device("cpu"), "fp32", Darkness()


def draw_tile() -> np.ndarray:
    """A piece of road with a crack, whose copies side by side join, (TILE, TILE, 3) uint8."""
    rng = np.random.default_rng(0)
    grey = rng.normal(150, 6, (TILE, TILE))
    across = np.arange(TILE)
    down = TILE / 2 + 60 * np.sin(across / TILE * 2 * np.pi)
    grey[np.abs(np.arange(TILE)[:, None] - down) < 3] = 40
    return grey.clip(0, 255).astype(np.uint8)[..., None].repeat(3, axis=2)


def draw_photo(kind: str, path: Path, side: int) -> None:
    """Write a photo of ``side`` x ``side`` pixels, in colour."""
    tile, times = draw_tile(), -(-side // TILE)
    if kind == "tiled TIFF":
        tiles = (tile for _ in range(times * times))
        tifffile.imwrite(path, tiles, shape=(side, side, 3), dtype=np.uint8, tile=(TILE, TILE), photometric="rgb", compression="zlib")
    elif kind == "PNG":
        pack = zlib.compressobj(1)
        with path.open("wb") as file:
            file.write(b"\x89PNG\r\n\x1a\n" + packed(b"IHDR", side.to_bytes(4) * 2 + bytes([8, 2, 0, 0, 0])))
            for row in range(side):
                line = b"\0" + np.tile(tile[row % TILE], (times, 1))[:side].tobytes()
                if content := pack.compress(line):
                    file.write(packed(b"IDAT", content))
            file.write(packed(b"IDAT", pack.flush()) + packed(b"IEND", b""))
    else:
        Image.fromarray(np.tile(tile, (times, times, 1))[:side, :side]).save(path, quality=90)


def search(path: Path) -> None:
    """Search a photo, and print the peak memory before and after in MiB, and the seconds."""
    predictor = DarknessPredictor()
    predictor(draw_tile())  # what torch needs for itself
    before, started = peak(), time.perf_counter()
    said = predict_file(predictor, path, path.parent / "out")
    print(said, file=sys.stderr)
    print(before, peak(), time.perf_counter() - started)


def peak() -> float:
    """The most memory that this process had so far, in MiB. Linux counts the parent process into getrusage, but not into VmHWM."""
    if Path("/proc/self/status").is_file():
        return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def measure(side: int = SIDE) -> pd.DataFrame:
    """Search a photo of each kind, each in a process of its own."""
    rows = []
    for kind, name in KINDS.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            draw_photo(kind, path, side)
            done = subprocess.run([sys.executable, __file__, path], stdout=subprocess.PIPE, text=True, check=True)
            rows.append((kind, path.stat().st_size / 2**20, *map(float, done.stdout.split())))
    columns = [f"{side} x {side} pixels", "file (MiB)", "peak memory before (MiB)", "peak memory (MiB)", "seconds"]
    return pd.DataFrame(rows, columns=columns)


if __name__ == "__main__":
    if len(sys.argv) == 2 and Path(sys.argv[1]).is_file():
        search(Path(sys.argv[1]))
    else:
        print(measure().to_string(index=False, float_format="{:.0f}".format))
