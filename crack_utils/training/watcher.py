"""Follow a training, and stop the training."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crack_utils.training.loop import Training


class Watcher:
    """Watches a training. This one does nothing. An error in a method ends the training."""

    def should_stop(self) -> bool:
        """Called after every batch. True ends the training there; the same run can go on after this batch."""
        return False

    def on_batch(self, training: "Training", epoch: int, done: int, total: int) -> None:
        """Called after every batch of epoch 1, 2, ...

        Args:
            done: how many of the epoch's ``total`` images are done. An image that is trained on twice counts twice.
        """

    def on_epoch(self, training: "Training") -> None:
        """Called after every epoch and its validation. ``training.history`` already has the epoch's row."""
