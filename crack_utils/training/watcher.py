"""Who looks on while a training runs."""

from crack_utils.training.loop import Training


class Watcher:
    """Looks on while a training runs, and can stop it. This one does neither. What a method raises ends the training."""

    def should_stop(self) -> bool:
        """Asked after every batch; True ends the training there, so that the same run goes on behind that batch."""
        return False

    def on_batch(self, training: "Training", epoch: int, done: int, total: int) -> None:
        """Called after every batch, with ``done`` of the ``total`` images of epoch 1, 2, ... trained on; hard ones count twice."""

    def on_epoch(self, training: "Training") -> None:
        """Called after every epoch and its validation, of which ``training.history`` now holds the row."""
