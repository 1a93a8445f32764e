"""One epoch; fit; checkpoint and resume.

Whatever is drawn at random is drawn from (seed, epoch) alone, so a resumed training goes on as the unbroken one would have.
"""

import dataclasses
import importlib
import time
from typing import Any

import numpy as np
import torch

from crack_utils.config.parameters import RunParameters
from crack_utils.data.dataset import batches
from crack_utils.data.run_data import RunData
from crack_utils.errors import UserError
from crack_utils.networks.devices import machine
from crack_utils.networks.prediction import predict
from crack_utils.networks.registry import build_model
from crack_utils.networks.segdecnet import count_parameters
from crack_utils.scoring.decision import average_precision
from crack_utils.scoring.judgement import choose_threshold, judge
from crack_utils.store.run import Run
from crack_utils.training.losses import loss_weights
from crack_utils.training.sampling import draw_by_use, hard_set, hardest, mix_hard
from crack_utils.training.schedule import build_optimizer, learning_rate
from crack_utils.training.step import measure_step, positive_weights, train_step
from crack_utils.training.watcher import Watcher


class _Stopped(Exception):
    """The watcher stopped the training inside an epoch."""


@dataclasses.dataclass
class _Position:
    """How far a stopped training came in its epoch."""

    results: torch.Tensor = dataclasses.field(default_factory=lambda: torch.empty(3, 0))  # of each image done: both losses, difficulty
    rng: dict[str, torch.Tensor] = dataclasses.field(default_factory=dict)  # states of torch's generators, until they are set again
    time_s: float = 0.0


class Training:
    """The state of one training and its loop."""

    def __init__(self, run: Run, params: RunParameters, data: RunData, device: torch.device, watcher: Watcher | None = None):
        self.run, self.params, self.data, self.device = run, params, data, device
        self.watcher = watcher or Watcher()
        if params.augmentation:
            importlib.import_module("torchvision.transforms.v2")  # once; else each worker of the loader would, in every pass
        torch.manual_seed(params.seed)
        self.model = build_model(params).to(device)
        self.optimizer = build_optimizer(self.model, params)
        self.pos_weights = positive_weights(data.split("train"), device) if params.positive_weights else (None, None)
        self.history: list[dict[str, float]] = []
        self._images = [crop.pair.stem for crop in data.split("train").crops]
        self.difficulty = np.full(len(data.split("train")), np.nan)  # of each image when it was last trained on
        self.uses = np.zeros(len(self.difficulty), int)  # how often frequency-of-use sampling drew each image
        self.best = {"epoch": 0, "val_f1": -1.0, "val_decision_ap": -1.0}
        self._position = _Position()  # to go on from

    def fit(self) -> None:
        """Train all epochs (those a checkpoint holds are done) and save the chosen weights, unless the watcher stops it before."""
        params, run = self.params, self.run
        state = run.load_checkpoint()
        if state:
            self._resume(state)
        run.log(self._announcement())
        if not state:
            self._describe()
        for epoch in range(len(self.history), params.epochs):
            started = time.perf_counter() - self._position.time_s
            try:
                losses = self._train_epoch(epoch)
            except _Stopped:
                self._stop(time.perf_counter() - started)
                return
            self._position = _Position()
            row = {"epoch": epoch + 1, **losses, "learning_rate": self.optimizer.param_groups[0]["lr"]}
            row["time_s"] = round(time.perf_counter() - started, 2)
            self.history.append(row)
            run.log(self._epoch_line(row))
            if self._is_checkpoint_epoch(epoch) and params.validate:
                self._validate(row)
            run.save_history(self.history)
            if self._is_checkpoint_epoch(epoch):
                run.save_checkpoint(self._state())
            self.watcher.on_epoch(self)
        self._finish()

    def _train_epoch(self, epoch: int) -> dict[str, float]:
        """One pass over the epoch's images, then one over the hardest; the mean losses are those of the first pass."""
        params, dataset = self.params, self.data.split("train")
        self._begun_with = self._sampling()
        rng = np.random.default_rng([params.seed, epoch])
        torch.manual_seed(
            int(np.random.SeedSequence([params.seed, epoch, 1]).generate_state(1)[0])
        )  # for networks that draw, as in dropout
        weights = self._loss_weights(epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(params, epoch)
        images = np.arange(len(dataset))
        if params.frequency_of_use_sampling:
            images = draw_by_use(np.array([crop.has_crack for crop in dataset.crops]), self.uses, rng)
            self.uses += np.bincount(images, minlength=len(dataset))
        order, is_first, share = rng.permutation(images), slice(None), params.hard_negative_mining
        if params.hard_batches:
            order, is_first = mix_hard(order, hard_set(self.difficulty, params.hard_batches[2]), *params.hard_batches[:2], rng)
            share = 0.0
        seen = np.unique(order)
        self._done, self._results = 0, np.empty((3, len(order) + len(hardest(seen, share))))
        losses = self._train_on(order, weights, rng)[:, is_first]
        again = seen[hardest(self.difficulty[seen], share)]
        if len(again):
            self._train_on(rng.permutation(again), weights, rng)
        if not (np.isfinite(losses).all() and np.isfinite(self.difficulty[order]).all()):
            raise UserError(f"the loss is no longer a number in epoch {epoch + 1}; lower learning_rate {params.learning_rate}")
        segmentation, decision = (float(values.mean()) for values in losses)
        return {
            "loss": weights[0] * segmentation + weights[1] * decision,
            "loss_segmentation": segmentation,
            "loss_decision": decision,
        }

    def _train_on(self, order: np.ndarray, weights: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
        """Train on images in this order and note their difficulty: segmentation and decision losses, (2, len(order)).

        What a training that was stopped in this epoch did of it is taken from its results.
        """
        self.model.train()
        dataset = self.data.split("train")
        seeds = rng.integers(2**62, size=len(order)) if self.params.augmentation else [None] * len(order)
        keys = [(int(index), None if seed is None else int(seed)) for index, seed in zip(order, seeds, strict=True)]
        start = self._done
        earlier = self._position.results[:, start : start + len(order)]
        skipped = earlier.shape[1]
        self._note(order[:skipped], earlier)
        if not skipped:
            self._restore_rng()
        for batch in batches(dataset, keys[skipped:], self.params.batch_size, self.params.num_workers, self.device.type == "cuda"):
            self._restore_rng()  # inside a pass only here: the loader has drawn from the generator as it started
            seg_losses, decision_losses, errors = train_step(self.model, self.optimizer, batch.to(self.device), weights, self.pos_weights)
            difficulty = seg_losses * (errors + 1) if self.params.hard_negative_difficulty == "loss_errors" else seg_losses
            self._note(batch.index, torch.stack([seg_losses, decision_losses, difficulty]).cpu())
            self.watcher.on_batch(self, len(self.history) + 1, self._done, self._results.shape[1])
            if self.watcher.should_stop():
                raise _Stopped
        return self._results[:2, start : self._done]

    def _note(self, images: np.ndarray | torch.Tensor, results: torch.Tensor) -> None:
        """Keep what training on the epoch's next images came to: their losses and difficulty, (3, N)."""
        self._results[:, self._done : self._done + len(images)] = results
        self.difficulty[images] = results[2]
        self._done += len(images)

    def _loss_weights(self, epoch: int) -> tuple[float, float]:
        params = self.params
        if not params.decision_loss:
            return 1.0, 0.0
        return loss_weights(epoch, params.epochs, params.delta_cls_loss, params.dynamically_balanced_loss)

    def _is_checkpoint_epoch(self, epoch: int) -> bool:
        return epoch % self.params.validation_n_epochs == 0 or epoch == self.params.epochs - 1

    def _validate(self, row: dict[str, float]) -> None:
        started = time.perf_counter()
        dataset = self.data.split(self.params.choosing_split)
        val = judge(predict(self.model, dataset, self.device, self.params.batch_size, self.params.num_workers))
        at = choose_threshold(val)
        scores = val.segmentation(at)
        row.update({f"val_{name}": scores[name] for name in ("precision", "recall", "f1")})
        row["val_seg_threshold"] = float(val.thresholds[at])
        row["val_decision_ap"] = average_precision(val.has_crack, val.decision_probs)
        is_best = better(row, self.best, self.params.best_model_type)
        self.best = {name: max(row[name], self.best[name]) for name in ("val_f1", "val_decision_ap")} | {"epoch": self.best["epoch"]}
        if is_best:
            self.best["epoch"] = row["epoch"]
            self.run.save_best(self.model)
        self.run.log(
            f"{_validation_line('Validation' + self._where(), row)} | {time.perf_counter() - started:.1f} s"
            + (" | best so far" if is_best else "")
        )

    def _finish(self) -> None:
        if self.params.chooses_checkpoint:
            self.run.load_best(self.model)
            self.run.log(_validation_line(f"Chosen by {self.params.choosing_split}", self.history[self.best["epoch"] - 1]))
        else:
            self.run.log(f"Chosen: the last weights (epoch {self.params.epochs})")
        self.run.save_model(self.model)

    # --- checkpoints
    def _stop(self, time_s: float) -> None:
        """Keep all that the same run needs to go on inside this epoch: the epoch is drawn again, what is done of it left out."""
        rng = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            rng["cuda"] = torch.cuda.get_rng_state(self.device)
        position = _Position(torch.from_numpy(self._results[:, : self._done].copy()), rng, time_s)
        self.run.save_checkpoint(self._state() | self._begun_with | {"position": vars(position)})
        self.run.save_history(self.history)
        at = f"epoch {len(self.history) + 1} of {self.params.epochs} after {self._done} of {self._results.shape[1]} images"
        self.run.log(f"Stopped in {at}; the same run goes on from here.")

    def _restore_rng(self) -> None:
        """Let torch draw on from where a stopped training came to, if it has not yet."""
        rng, self._position.rng = self._position.rng, {}
        if "cpu" in rng:
            torch.set_rng_state(rng["cpu"])
        if "cuda" in rng and self.device.type == "cuda":
            torch.cuda.set_rng_state(rng["cuda"], self.device)

    def _sampling(self) -> dict[str, torch.Tensor]:
        """What an epoch's images are drawn by."""
        return {"difficulty": torch.from_numpy(self.difficulty.copy()), "uses": torch.from_numpy(self.uses.copy())}

    def _state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "history": self.history,
            "best": self.best,
            "images": self._images,
            **self._sampling(),
        }

    def _resume(self, state: dict[str, Any]) -> None:
        if state["images"] != self._images:
            raise UserError(
                f"the training images are not those run {self.run.name} began with; choose another run_name, or remove {self.run.folder}"
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.history, self.best = state["history"], state["best"]
        self.difficulty, self.uses = state["difficulty"].numpy().copy(), state["uses"].numpy().copy()
        self._position = _Position(**state.get("position", {}))

    # --- words
    def _where(self) -> str:
        return " on test" if self.params.validate_on_test else ""

    def _announcement(self) -> str:
        params, train = self.params, self.data.split("train")
        done, into = len(self.history), self._position.results.shape[1]
        is_sampled = params.frequency_of_use_sampling and train.negatives
        images = 2 * train.positives if is_sampled else len(train)
        distinct = train.positives + min(train.positives, train.negatives) if is_sampled else images
        k, b, _ = params.hard_batches or (0, 1, 0)
        again = -(-images // (b - k)) * k if k else len(hardest(np.zeros(distinct), params.hard_negative_mining))
        train_s, predict_s = measure_step(self.model, self.params, train, self.device)
        validations = sum(self._is_checkpoint_epoch(epoch) for epoch in range(done, params.epochs)) if params.validate else 0
        steps = -(-images // params.batch_size) + -(-again // params.batch_size)
        judged = len(self.data.split(params.choosing_split))
        steps_left = (params.epochs - done) * steps - -(-into // params.batch_size)
        total_s = steps_left * train_s + validations * judged * predict_s
        start = f"Going on with {self.run.name} after epoch {done} of" if done or into else f"Training {self.run.name}:"
        inside = f", {into} images into epoch {done + 1}" if into else ""
        return f"{start} {params.epochs} epochs of {images} + {again} images on {self.device}{inside}: about {duration(total_s)}"

    def _describe(self) -> None:
        values = self.run.load_resolved()
        facts = values["data"]
        self.run.log(f"Machine: {machine(self.device)}, {torch.get_num_threads()} threads, torch {torch.__version__}")
        if facts["drawn"]:
            self.run.log("Data: drawn by a program, not photos")
        for note in facts["notes"]:
            self.run.log(f"Note: {note}")
        self.run.log("Parameters:")
        for name in self.params.as_dict():
            if name not in ("data_root", "negatives_root"):  # a reader of the log need not know this machine's folders
                self.run.log(f"    {name}: {values[name]}")
        for name, count in facts["counts"].items():
            total = sum(count.values())
            self.run.log(f"{name}: {total} images, {count['positives']} with a crack, {count['negatives']} without")
        if self.params.positive_weights and self.pos_weights[1] is None:
            self.run.log("Note: train has no crack-free images to balance: the decision's positive weight stays 1")
        share = self.params.hard_negative_mining
        if isinstance(share, float) and share and not len(hardest(self.difficulty, share)):
            self.run.log(
                f"Note: hard_negative_mining {share} of {len(self.difficulty)} images is less than one: nothing is trained on twice"
            )
        self.run.log(f"Network: {self.params.architecture} with {count_parameters(self.model):,} parameters")

    def _epoch_line(self, row: dict[str, float]) -> str:
        recent = [earlier["time_s"] for earlier in self.history[-5:]]
        left = duration((self.params.epochs - row["epoch"]) * sum(recent) / len(recent))
        return (
            f"Epoch {row['epoch']}/{self.params.epochs} | loss {row['loss']:.5f} | segmentation {row['loss_segmentation']:.5f} "
            f"| decision {row['loss_decision']:.5f} | {row['time_s']:.1f} s | {left} left"
        )


def better(row: dict[str, float], best: dict[str, float], best_model_type: str) -> bool:
    """Whether a validation beats the best so far of F1 (seg) or of the decision's average precision (dec), or reaches both."""
    if best_model_type == "both":
        return row["val_f1"] >= best["val_f1"] and row["val_decision_ap"] >= best["val_decision_ap"]
    name = {"seg": "val_f1", "dec": "val_decision_ap"}[best_model_type]
    return row[name] > best[name]


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _validation_line(title: str, row: dict[str, float]) -> str:
    return (
        f"{title} (epoch {row['epoch']}) | precision {row['val_precision']:.4f} | recall {row['val_recall']:.4f} "
        f"| F1 {row['val_f1']:.4f} | threshold {row['val_seg_threshold']:.3f} | decision AP {row['val_decision_ap']:.4f}"
    )
