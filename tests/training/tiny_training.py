"""Short trainings of a tiny network, and what they were given to train on."""

import dataclasses

from conftest import TINY, small_params

from crack_utils.training import Watcher, train_run, train_step


def watch_steps(step=train_step, parts=TINY):
    """Parts that keep their training steps in a list, each as (indices, weights of the terms, positive weights).

    Args:
        step: does the training step, like :func:`train_step`.
    """
    seen = []

    def watched(model, optimizer, batch, weights, positive, terms):
        seen.append((batch.index.tolist(), tuple(weights), positive))
        return step(model, optimizer, batch, weights, positive, terms)

    return seen, dataclasses.replace(parts, step=watched)


def tiny_run(root, parts=TINY, **values):
    """Train without mining and validation, unless ``values`` ask for them."""
    return train_run(small_params(root, **{"hard_negative_mining": 0, "validate": False} | values), "tiny", overwrite=True, parts=parts)


class StopInEpoch(Watcher):
    """Ends the training with an error after the first batch of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_batch(self, training, epoch, done, total):
        if epoch == self.epoch:
            raise KeyboardInterrupt
