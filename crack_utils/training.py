"""One epoch; fit; checkpoint and resume.

Whatever is drawn at random is drawn from (seed, epoch) alone, so a resumed training goes on as the unbroken one would have.
"""

import copy
import platform
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from crack_utils import metrics
from crack_utils.artifacts import Run, sample_folder
from crack_utils.config import RunParameters
from crack_utils.data import Batch, CropDataset, RunData, batches
from crack_utils.errors import ParameterError, UserError
from crack_utils.evaluation import build_model, choose_threshold, judge, predict, resolve_device
from crack_utils.losses import decision_loss, loss_weights, segmentation_loss
from crack_utils.model import SegDecNet, count_parameters


def train_run(params: RunParameters, run_name: str | None = None, overwrite: bool = False) -> Run:
    """Train, go on where a training stopped, or leave a finished one as it is.

    Args:
        params: the run's parameters.
        run_name: folder under ``runs/``; default ``DATASET-<hash of the parameters>``.
        overwrite: drop what the folder holds of a training with other parameters.

    Raises:
        ParameterError: the folder holds a training with other parameters, or the device is not there.
        DataError: the data cannot be used.
    """
    run = claim_run(params, run_name, overwrite)
    is_same = run.path("params.json").is_file() and not run.load_params().differences(params)
    if run.is_trained and is_same:
        print(f"Run {run.name} has finished training before; it is shown, not repeated.")
        return run
    device = resolve_device(params.device)
    data = RunData(params, sample_folder())
    facts = data.facts  # decodes every image: what is wrong with the data shows before any work is done
    resolved = {
        "device": str(device),
        "input_height": data.input_size[0],
        "input_width": data.input_size[1],
        "evaluate_negatives": params.evaluates_negatives,
    }
    if not (is_same and run.path("checkpoint.pt").is_file()):
        run.forget_results()
    run.save_params(params, resolved, facts)
    Training(run, params, data, device).fit()
    return run


def claim_run(params: RunParameters, run_name: str | None, overwrite: bool = False) -> Run:
    """The run's folder, if these parameters may use it (see :func:`train_run`)."""
    run = Run(run_name or f"{params.dataset}-{params.fingerprint()}")
    if run.path("params.json").is_file():
        changed = run.load_params().differences(params)
        if changed and not overwrite:
            listed = ", ".join(f"{name} {old!r} there, {new!r} now" for name, (old, new) in changed.items())
            raise ParameterError(
                f"run {run.name} holds a training with other parameters ({listed}); "
                f"choose another run_name, or remove {run.folder} (the command line has --overwrite)"
            )
    return run


class Training:
    """The state of one training and its loop."""

    def __init__(self, run: Run, params: RunParameters, data: RunData, device: torch.device):
        self.run, self.params, self.data, self.device = run, params, data, device
        torch.manual_seed(params.seed)
        self.model = build_model(params).to(device)
        self.optimizer = build_optimizer(self.model, params)
        self.history: list[dict[str, float]] = []
        self.best = {"epoch": 0, "val_f1": -1.0, "val_decision_ap": -1.0}

    def fit(self) -> None:
        """Train all epochs (those a checkpoint holds are done) and save the chosen weights."""
        params, run = self.params, self.run
        state = run.load_checkpoint()
        run.log(self._announcement(len(state["history"]) if state else 0))
        if state:
            self._resume(state)
        else:
            self._describe()
        for epoch in range(len(self.history), params.epochs):
            started = time.perf_counter()
            row = {"epoch": epoch + 1, **self._train_epoch(epoch), "learning_rate": self.optimizer.param_groups[0]["lr"]}
            row["time_s"] = round(time.perf_counter() - started, 2)
            self.history.append(row)
            run.log(self._epoch_line(row))
            if self._is_checkpoint_epoch(epoch) and params.validate:
                self._validate(row)
            run.save_history(self.history)
            if self._is_checkpoint_epoch(epoch):
                run.save_checkpoint(self._state())
        self._finish()

    def _train_epoch(self, epoch: int) -> dict[str, float]:
        """One pass over all images, then one over the hardest; the mean losses are those of the first pass."""
        params, dataset = self.params, self.data.split("train")
        rng = np.random.default_rng([params.seed, epoch])
        weights = loss_weights(epoch, params.epochs, params.delta_cls_loss, params.dynamically_balanced_loss)
        difficulty = np.zeros(len(dataset))
        decision = np.zeros(len(dataset))
        for batch in self._batches(dataset, rng.permutation(len(dataset)), rng):
            seg_losses, decision_losses = train_step(self.model, self.optimizer, batch.to(self.device), weights)
            difficulty[batch.index], decision[batch.index] = seg_losses.cpu(), decision_losses.cpu()
        again = np.zeros(len(dataset))
        for batch in self._batches(dataset, rng.permutation(hardest(difficulty, params.hard_negative_mining)), rng):
            again[batch.index] = train_step(self.model, self.optimizer, batch.to(self.device), weights)[0].cpu()
        if not np.isfinite([difficulty, decision, again]).all():
            raise UserError(f"the loss is no longer a number in epoch {epoch + 1}; lower learning_rate {params.learning_rate}")
        losses = {"loss_segmentation": float(difficulty.mean()), "loss_decision": float(decision.mean())}
        return {"loss": weights[0] * losses["loss_segmentation"] + weights[1] * losses["loss_decision"], **losses}

    def _batches(self, dataset: CropDataset, order: np.ndarray, rng: np.random.Generator) -> Iterator[Batch]:
        self.model.train()
        seeds = rng.integers(2**62, size=len(order)) if self.params.augmentation else [None] * len(order)
        keys = [(int(index), None if seed is None else int(seed)) for index, seed in zip(order, seeds, strict=True)]
        return batches(dataset, keys, self.params.batch_size, self.params.num_workers, pin_memory=self.device.type == "cuda")

    def _is_checkpoint_epoch(self, epoch: int) -> bool:
        return epoch % self.params.validation_n_epochs == 0 or epoch == self.params.epochs - 1

    def _validate(self, row: dict[str, float]) -> None:
        started = time.perf_counter()
        dataset = self.data.split("val")
        val = judge(predict(self.model, dataset, self.device, self.params.batch_size, self.params.num_workers))
        at = choose_threshold(val)
        scores = val.segmentation(at)
        row.update({f"val_{name}": scores[name] for name in ("precision", "recall", "f1")})
        row["val_seg_threshold"] = scores["threshold"]
        row["val_decision_ap"] = metrics.average_precision(val.has_crack, val.decision_probs)
        is_best = better(row, self.best, self.params.best_model_type)
        self.best = {name: max(row[name], self.best[name]) for name in ("val_f1", "val_decision_ap")} | {"epoch": self.best["epoch"]}
        if is_best:
            self.best["epoch"] = row["epoch"]
            self.run.save_best(self.model)
        self.run.log(
            f"{_validation_line('Validation', row)} | {time.perf_counter() - started:.1f} s" + (" | best so far" if is_best else "")
        )

    def _finish(self) -> None:
        if self.params.validate and self.params.use_best_model:
            self.run.load_best(self.model)
            self.run.log(_validation_line("Chosen by val", self.history[self.best["epoch"] - 1]))
        else:
            self.run.log(f"Chosen: the last weights (epoch {self.params.epochs})")
        self.run.save_model(self.model)

    # --- checkpoints
    def _state(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "history": self.history,
            "best": self.best,
        }

    def _resume(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.history, self.best = state["history"], state["best"]

    # --- words
    def _announcement(self, done: int) -> str:
        params, train = self.params, self.data.split("train")
        again = len(hardest(np.zeros(len(train)), params.hard_negative_mining))
        train_s, predict_s = measure_step(self.model, self.params, train, self.device)
        validations = sum(self._is_checkpoint_epoch(epoch) for epoch in range(done, params.epochs)) if params.validate else 0
        steps = -(-len(train) // params.batch_size) + -(-again // params.batch_size)
        total_s = (params.epochs - done) * steps * train_s + validations * len(self.data.split("val")) * predict_s
        start = f"Going on with {self.run.name} after epoch {done} of" if done else f"Training {self.run.name}:"
        return f"{start} {params.epochs} epochs of {len(train)} + {again} images on {self.device}: about {duration(total_s)}"

    def _describe(self) -> None:
        values = self.run.load_resolved()
        facts = values["data"]
        self.run.log(f"Machine: {_machine(self.device)}, torch {torch.__version__}")
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
        self.run.log(f"Network: SegDecNet with {count_parameters(self.model):,} parameters")

    def _epoch_line(self, row: dict[str, float]) -> str:
        recent = [earlier["time_s"] for earlier in self.history[-5:]]
        left = duration((self.params.epochs - row["epoch"]) * sum(recent) / len(recent))
        return (
            f"Epoch {row['epoch']}/{self.params.epochs} | loss {row['loss']:.5f} | segmentation {row['loss_segmentation']:.5f} "
            f"| decision {row['loss_decision']:.5f} | {row['time_s']:.1f} s | {left} left"
        )


def build_optimizer(model: SegDecNet, params: RunParameters) -> torch.optim.Optimizer:
    device = next(model.parameters()).device
    # The fused step is six times as fast as the plain one on a CPU, which is a seventh of a training step on the sample.
    return torch.optim.Adam(model.parameters(), lr=params.learning_rate, fused=device.type in ("cpu", "cuda"))


def train_step(
    model: SegDecNet, optimizer: torch.optim.Optimizer, batch: Batch, weights: tuple[float, float]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Learn from one batch.

    Args:
        weights: of the segmentation and the decision loss.

    Returns:
        Each image's segmentation and decision loss, (N,) each.
    """
    decision_logits, seg_logits = model(batch.image)
    seg_losses = segmentation_loss(seg_logits, batch.mask, batch.valid)
    decision_losses = decision_loss(decision_logits, batch.has_crack)
    loss = weights[0] * seg_losses.mean() + weights[1] * decision_losses.mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return seg_losses.detach(), decision_losses.detach()


def hardest(difficulty: np.ndarray, share: float) -> np.ndarray:
    """Indices of the ``share`` of samples with the greatest difficulty (661 of 3307 for 0.2), hardest first."""
    return np.argsort(-difficulty, kind="stable")[: int(share * len(difficulty) + 1e-9)]  # 0.29 of 100 is 29


def better(row: dict[str, float], best: dict[str, float], best_model_type: str) -> bool:
    """Whether a validation beats the best so far of F1 (seg) or of the decision's average precision (dec), or reaches both."""
    if best_model_type == "both":
        return row["val_f1"] >= best["val_f1"] and row["val_decision_ap"] >= best["val_decision_ap"]
    name = {"seg": "val_f1", "dec": "val_decision_ap"}[best_model_type]
    return row[name] > best[name]


def measure_step(model: SegDecNet, params: RunParameters, dataset: CropDataset, device: torch.device) -> tuple[float, float]:
    """Seconds of one training step and of one image's prediction, measured on a copy of the network."""
    scratch = copy.deepcopy(model)
    optimizer = build_optimizer(scratch, params)
    keys = [i % len(dataset) for i in range(params.batch_size)]
    batch = next(batches(dataset, keys, params.batch_size)).to(device)
    times = []
    for _ in range(3):  # the first one warms up
        started = time.perf_counter()
        train_step(scratch, optimizer, batch, (1.0, 1.0))[0].cpu()
        trained = time.perf_counter()
        with torch.inference_mode():
            scratch(batch.image[:1])[0].cpu()
        times.append((trained - started, time.perf_counter() - trained))
    return tuple(min(values) for values in zip(*times[1:], strict=True))


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


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} {device.type} with {torch.get_num_threads()} threads"
