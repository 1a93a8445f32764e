"""Whether a long training grows: ``python -m crack_utils bench endurance``."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from PIL import Image

from crack_utils.config import parse_parameters
from crack_utils.training import Training, Watcher, train_run


class Growth(Watcher):
    """Measures this process after every few epochs."""

    def __init__(self, every: int):
        self.process, self.every, self.rows = psutil.Process(), every, []

    def on_epoch(self, training: Training) -> None:
        epoch = len(training.history)
        if epoch % self.every == 0 or epoch == 1:
            kept = training.run.checkpoint.path.stat().st_size / 1e6 if training.run.checkpoint.exists else 0.0
            about = {"memory (MB)": self.process.memory_info().rss / 1e6, "file handles": self.process.num_fds()}
            about |= {"threads": self.process.num_threads(), "child processes": len(self.process.children(recursive=True))}
            self.rows.append({"epochs": epoch, **about, "checkpoint (MB)": kept})


def growth(epochs: int = 200, every: int = 20, **values: object) -> pd.DataFrame:
    """Train SegDecNet with two loading processes on a few tiny images. Returns measurements of this process."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["CRACK_HOME"] = folder  # this process ends with the benchmark
        data, rng = Path(folder) / "data", np.random.default_rng(0)
        for kind in ("images", "masks"):
            (data / kind).mkdir(parents=True)
        for i in range(6):
            mask = np.zeros((64, 128), bool)
            mask[20 + 4 * i : 23 + 4 * i, 8:120] = True
            image = (rng.normal(150, 12, mask.shape) - 80 * mask).clip(0, 255).astype(np.uint8)
            Image.fromarray(image).save(data / "images" / f"road{i}.png")
            Image.fromarray(mask.astype(np.uint8) * 255).save(data / "masks" / f"road{i}.png")
        given = {"dataset": "folder", "data_root": str(data), "epochs": epochs, "num_workers": 2, "validation_n_epochs": every}
        watcher = Growth(every)
        train_run(parse_parameters(given | values), "endurance", watcher=watcher)
    return pd.DataFrame(watcher.rows)


if __name__ == "__main__":
    print(growth().to_string(index=False, float_format="{:.0f}".format))
