"""The start of a training, part by part, and the loading after it: ``python -m crack_utils bench loading``.

Three starts, each in a process of its own: without a cache, with an empty one, and with the one that the second start has filled. The
imports do not count.
"""

import argparse
import json
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from crack_utils.config import DATASETS, parse_parameters, resolve_folders
from crack_utils.data import SPLITS, Cache, Loader, ensure_sample, find_data, fingerprint
from crack_utils.data.facts import data_facts
from crack_utils.store import home, sample_folder

STARTS = ("without cache", "first start", "second start")
PASS = 400  # images of a timed pass


def start(values: dict[str, str], folder: str | None, images: int = PASS) -> dict[str, float]:
    """Seconds of the parts of a start, images a second of a pass with 0 and 1 workers, and MiB of memory."""
    import torchvision.transforms.v2  # noqa: F401 - a start imports this once, for the augmentation

    params = parse_parameters(values)
    times = [time.perf_counter()]

    def took() -> float:
        times.append(time.perf_counter())
        return times[-1] - times[-2]

    data = find_data(params, sample_folder(), Cache(Path(folder), young_s=0) if folder else None)
    parts = {"find, s": took()}
    train, *_ = (data.split(name) for name in SPLITS)
    parts["decode, s"] = took()
    _ = data.leaks
    parts["leaks, s"] = took()
    fingerprint(data)
    parts["fingerprint, s"] = took()
    data_facts(data)
    parts["other facts, s"] = took()
    keys = [(index % len(train), index) for index in range(images)]
    next(Loader(train, params.batch_size).batches(keys))
    parts["first batch, s"] = took()
    parts["start, s"] = times[-1] - times[0]
    for workers in (0, 1):
        loader = Loader(train, params.batch_size, workers)
        for _ in loader.batches(keys[:1]):  # starts the workers
            took()
        for _ in loader.batches(keys):
            pass
        parts[f"images/s, {workers} workers"] = images / took()
    return parts | memory_mib()


def memory_mib() -> dict[str, float]:
    """The most memory of this process so far, and the part of its memory now that is no page of a file. Only Linux tells them."""
    status = Path("/proc/self/status")
    said = dict(re.findall(r"(VmHWM|RssAnon):\s+(\d+)", status.read_text())) if status.is_file() else {}
    return {f"{words}, MiB": int(said[name]) / 1024 for name, words in (("VmHWM", "peak"), ("RssAnon", "own memory")) if name in said}


def measure(values: dict[str, str]) -> pd.DataFrame:
    """A row for each figure of :func:`start`, a column for each start."""
    (home() / "data").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home() / "data", prefix=".bench-") as folder:  # as large as the decoded data set
        columns = {}
        for name in STARTS:
            words = [sys.executable, __file__, "--start", json.dumps([values, None if name == STARTS[0] else folder])]
            done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
            columns[name] = json.loads(done.stdout.splitlines()[-1])
    return pd.DataFrame(columns)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m crack_utils bench loading", description="Time the start of a training, and loading.")
    parser.add_argument("--data-root", default="", help="folder of a data set; default: the drawn sample")
    parser.add_argument("--dataset", choices=DATASETS, default="crack500", help="its layout; default: crack500")
    parser.add_argument("--json", type=Path, help="a file for the same figures")
    parser.add_argument("--start", help=argparse.SUPPRESS)  # one start, in a process of its own
    options = parser.parse_args()
    if options.start:
        print(json.dumps(start(*json.loads(options.start))))
        return
    ensure_sample(sample_folder()) if not options.data_root else None
    given = {"dataset": options.dataset, "data_root": options.data_root} if options.data_root else {"dataset": "sample"}
    table = measure(resolve_folders(given))
    about = {"machine": platform.machine(), "python": platform.python_version(), "dataset": given["dataset"], "images of a pass": PASS}
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    print(table.to_string(float_format="{:.3f}".format))
    if options.json:
        options.json.write_text(json.dumps(about | {"starts": table.to_dict()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
