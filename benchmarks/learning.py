"""Whether the fast ways learn as the plain one does: ``python -m crack_utils bench learning --data-root FOLDER``.

Trains the same runs with the project's layers and with PyTorch's own. The runs lie in ``--home`` and go on where they stopped.
"""

import argparse
import os
import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from crack_utils.config import RunParameters, parse_parameters
from crack_utils.networks import build_model
from crack_utils.training import Parts, train_run

PLAIN = runpy.run_path(str(Path(__file__).with_name("training.py")))["plain"]
WAYS = {"crack_utils": build_model, "plain": lambda params: PLAIN(build_model(params))}


def curves(values: dict[str, Any], seeds: Sequence[int]) -> pd.DataFrame:
    """Train each way with each seed. Returns way, seed, and each epoch's history."""
    tables = []
    for seed in seeds:
        params: RunParameters = parse_parameters({"validation_n_epochs": 1, **values, "seed": seed})
        for way, build in WAYS.items():
            run = train_run(params, f"{way}/seed{seed}", parts=Parts(build_model=build))
            tables.append(pd.DataFrame(run.history.load()).assign(way=way, seed=seed))
    return pd.concat(tables, ignore_index=True)


def plot(table: pd.DataFrame) -> Figure:
    """Segmentation loss and validation F1 by epoch: a colour for each seed, dashes for the plain way."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axis, name, label in zip(axes, ("loss_segmentation", "val_f1"), ("segmentation loss", "F1 on val (2 px)"), strict=True):
        for (way, seed), rows in table.groupby(["way", "seed"]):
            axis.plot(rows["epoch"], rows[name], "--" if way == "plain" else "-", color=f"C{seed}", label=f"{way}, seed {seed}")
        axis.set(xlabel="epoch", ylabel=label)
    axes[0].legend()
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m crack_utils bench learning", description="Train the fast and the plain way.")
    parser.add_argument("--data-root", help="folder of a data set; default: the drawn sample")
    parser.add_argument("--dataset", default="crack500", help="kind of the data set; default: crack500")
    parser.add_argument("--size", default="320x184", help="width x height of the input; default: 320x184")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each way; default: 3")
    parser.add_argument("--home", type=Path, required=True, help="folder for the runs")
    parser.add_argument("-p", dest="given", nargs=2, action="append", default=[], help="a run parameter and its value")
    options = parser.parse_args()
    os.environ["CRACK_HOME"] = str(options.home)  # this process ends with the benchmark
    width, height = options.size.split("x")
    data = {"dataset": options.dataset, "data_root": options.data_root} if options.data_root else {"dataset": "sample"}
    table = curves(data | {"input_width": width, "input_height": height, **dict(options.given)}, range(options.seeds))
    print(table.pivot_table(index="epoch", columns=["seed", "way"], values="val_f1").to_string(float_format="{:.4f}".format))
    last = table[table["epoch"] == table["epoch"].max()].pivot_table(index="seed", columns="way", values=["loss_segmentation", "val_f1"])
    print(last.to_string(float_format="{:.4f}".format))
    means = last["val_f1"].mean()
    print(f"F1 on val, mean of {options.seeds} seeds: crack_utils {means['crack_utils']:.4f}, plain {means['plain']:.4f}")
    plot(table).savefig(options.home / "learning.png", dpi=120)
    print(f"The curves are in {options.home / 'learning.png'}.")


if __name__ == "__main__":
    main()
