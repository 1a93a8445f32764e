"""Who follows a training: a watcher, and the lines of the log."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch

from crack_utils.config import FOLDERS, RunParameters
from crack_utils.data import drawn_notice
from crack_utils.networks import chosen_ways, count_parameters, hardware
from crack_utils.training.sampling import hardest
from crack_utils.training.step import is_checkpoint_epoch

if TYPE_CHECKING:
    from crack_utils.training.loop import Training


class Watcher:
    """Watches a training. This one does nothing. An error in a method ends the training."""

    def should_stop(self) -> bool:
        """Called after every batch. True ends the training there; the same run can go on after this batch."""
        return False

    def on_batch(self, training: "Training", epoch: int, done: int, total: int) -> None:
        """Called after every batch of epoch 1, 2, ... when ``done`` of ``total`` images are done. A mined image counts twice."""

    def on_epoch(self, training: "Training") -> None:
        """Called after every epoch and its validation. ``training.history`` already has the epoch's row."""


def announcement(training: "Training", step_s: float) -> str:
    """The first line: the run, its epochs and images, and about how long the training takes if a step takes ``step_s`` seconds."""
    params, done, into = training.params, len(training.history), training.position.n_done
    images, again = _images_of_an_epoch(training)
    steps, again_steps, steps_done = (-(-n // params.batch_size) for n in (images, again, into))
    steps_left = (params.epochs - done) * (steps + again_steps) - steps_done
    total_s = steps_left * step_s + _validations_from(params, done) * training.validation_s
    inside = f" and {into} images of epoch {done + 1}" if into else ""
    start = f"Going on with {training.run.name} after epoch {done}{inside}" if done or into else f"Training {training.run.name}"
    device, precision = training.device, training.precision
    where = f"{device}" if (device.type, precision) == ("cpu", "fp32") else f"{device} in {precision}"
    return f"{start}: {params.epochs} epochs of {images} + {again} images on {where}: about {duration(total_s)}"


def _validations_from(params: RunParameters, epoch: int) -> int:
    """Number of validations in epoch 0, 1, ... and after."""
    return sum(is_checkpoint_epoch(params, each) for each in range(epoch, params.epochs)) if params.validate else 0


def _images_of_an_epoch(training: "Training") -> tuple[int, int]:
    """Number of images in an epoch's first pass, and of those that mining adds."""
    params, train = training.params, training.dataset
    is_sampled = params.frequency_of_use_sampling and train.negatives
    images = 2 * train.positives if is_sampled else len(train)
    if params.hard_batches:
        k, b, _ = params.hard_batches
        return images, -(-images // (b - k)) * k
    distinct = train.positives + min(train.positives, train.negatives) if is_sampled else images
    return images, len(hardest(np.zeros(distinct), params.hard_negative_mining))


def description(training: "Training") -> Iterator[str]:
    """The lines on machine, data, parameters and network."""
    params, values = training.params, training.run.params.resolved()
    facts = values["data"]
    yield f"Machine: {hardware(training.device)['machine']}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    if training.ranks.count > 1:
        yield f"Processes: {training.ranks.count}, joined by {training.ranks.about['backend']}"
    if drawn_notice(facts):
        yield f"Data: {drawn_notice(facts)}"
    yield from (f"Note: {note}" for note in facts["notes"])
    yield "Parameters:"
    yield from (f"    {name}: {values[name]}" for name in params.as_dict() if name not in FOLDERS)  # people pass logs on
    for name, count in facts["counts"].items():
        yield f"{name}: {sum(count.values())} images, {count['positives']} with a crack, {count['negatives']} without"
    if params.positive_weights and training.positive.images is None:
        yield "Note: train has no crack-free images, so the decision's positive weight stays 1"
    share, images = params.hard_negative_mining, len(training.dataset)
    if isinstance(share, float) and share and not len(hardest(np.zeros(images), share)):
        yield f"Note: hard_negative_mining {share} of {images} images is less than one image: no image is trained on twice"
    yield f"Network: {params.architecture} with {count_parameters(training.model):,} parameters"
    yield from chosen_ways()  # a step was timed before, so the ways are chosen


def not_a_number(training: "Training", n_done: int, stems: list[str]) -> str:
    """The message for a loss that is no number: where the training stands, and what to try."""
    params, epoch = training.params, len(training.history) + 1
    done = epoch - 1 - (epoch - 2) % params.validation_n_epochs if epoch > 1 else 0
    kept = f"the checkpoint after epoch {done} is kept" if done else "there is no checkpoint yet"
    return (
        f"the loss is no longer a number in epoch {epoch}, after {n_done} images, at {', '.join(stems)}; {kept}; "
        f"lower learning_rate {params.learning_rate} in a run with another run_name, or look at these images"
    )


def epoch_line(params: RunParameters, history: list[dict[str, float]], validation_s: float) -> str:
    """The last epoch's losses, and the time left as guessed from the last five epochs and the seconds of a validation."""
    row, recent = history[-1], [earlier["time_s"] for earlier in history[-5:]]
    validations_s = _validations_from(params, row["epoch"] - 1) * validation_s  # the one of this epoch comes after this line
    left = duration((params.epochs - row["epoch"]) * sum(recent) / len(recent) + validations_s)
    terms = " ".join(f"| {name.removeprefix('loss_')} {row[name]:.5f}" for name in row if name.startswith("loss_"))
    return f"Epoch {row['epoch']}/{params.epochs} | loss {row['loss']:.5f} {terms} | {row['time_s']:.1f} s | {left} left"


def validation_line(params: RunParameters, row: dict[str, float], time_s: float, is_best: bool) -> str:
    """A validation's figures."""
    title = "Validation on test" if params.validate_on_test else "Validation"
    return f"{_figures(title, row)} | {time_s:.1f} s" + (" | best so far" if is_best else "")


def chosen_line(params: RunParameters, row: dict[str, float]) -> str:
    """Which epoch's weights the run keeps."""
    if params.chooses_checkpoint:
        return _figures(f"Chosen by {params.choosing_split}", row)
    return f"Chosen: the last weights (epoch {params.epochs})"


def _figures(title: str, row: dict[str, float]) -> str:
    return (
        f"{title} (epoch {row['epoch']}) | precision {row['val_precision']:.4f} | recall {row['val_recall']:.4f} "
        f"| F1 {row['val_f1']:.4f} | threshold {row['val_seg_threshold']:.3f} | decision AP {row['val_decision_ap']:.4f}"
    )


def duration(seconds: float) -> str:
    """Seconds in a unit that suits their number."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
