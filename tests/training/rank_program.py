"""A program for torchrun: trains tiny networks.

``torchrun --nproc-per-node N rank_program.py FOLDER``. FOLDER/trainings.json lists the trainings: name, parameters, and after how many
batches each is stopped before it goes on to the end. What each process trains on is in FOLDER/NAME.RANK. In the variable DIE, "RANK N" says
which process kills itself in its training step number N.
"""

import dataclasses
import json
import os
import signal
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from conftest import TINY, TinyNet

from crack_utils.config import parse_parameters
from crack_utils.training import Watcher, train_run, train_step

RANK = os.environ.get("RANK", "0")


class DroppingNet(TinyNet):
    def __init__(self, params, share):
        super().__init__(params)
        self.share = share

    def forward(self, image):
        return super().forward(torch.nn.functional.dropout(image, self.share, self.training))


class StopAfter(Watcher):
    def __init__(self, batches):
        self.left = batches

    def on_batch(self, *_):
        self.left -= 1

    def should_stop(self):
        return self.left <= 0


def train(folder, name, values, stops=()):
    params, n_steps = parse_parameters(values), 0

    def step(model, optimizer, batch, *rest):
        nonlocal n_steps
        n_steps += 1
        if os.environ.get("DIE") == f"{RANK} {n_steps}":
            os.kill(os.getpid(), signal.SIGKILL)
        with (folder / f"{name}.{RANK}").open("a") as file:
            file.write(json.dumps(batch.index.tolist()) + "\n")
        return train_step(model, optimizer, batch, *rest)

    parts = dataclasses.replace(
        TINY, build_model=lambda params, fresh=True: DroppingNet(params, 0.3 * name.startswith("dropping")), step=step
    )
    for batches in (*stops, None):
        train_run(params, name, watcher=StopAfter(batches) if batches else None, parts=parts)


if __name__ == "__main__":
    for training in json.loads((Path(sys.argv[1]) / "trainings.json").read_text()):
        train(Path(sys.argv[1]), *training)
