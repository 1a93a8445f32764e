"""The best epoch so far, and the way from a training to a checkpoint and back."""

import dataclasses
from typing import TYPE_CHECKING, Any

import torch

from crack_utils.errors import UserError

if TYPE_CHECKING:
    from crack_utils.training.loop import Training


def is_better(row: dict[str, float], best: dict[str, float], best_model_type: str) -> bool:
    """Whether a validation is better than the best so far: by F1 (seg), by average precision (dec), or neither below its best (both)."""
    if best_model_type == "both":
        return row["val_f1"] >= best["val_f1"] and row["val_decision_ap"] >= best["val_decision_ap"]
    name = {"seg": "val_f1", "dec": "val_decision_ap"}[best_model_type]
    return row[name] > best[name]


def update_best(best: dict[str, float], row: dict[str, float], best_model_type: str) -> bool:
    """Update the best epoch and the best figures with a validated row of the history. Returns whether the row's epoch is the best."""
    if is_best := is_better(row, best, best_model_type):
        best["epoch"] = row["epoch"]
    best.update({name: max(row[name], best[name]) for name in ("val_f1", "val_decision_ap")})
    return is_best


@dataclasses.dataclass
class Position:
    """How far a stopped training came in its epoch."""

    results: torch.Tensor | None = None  # the loss by term and the difficulty of each image that is done, (terms + 1, images done)
    rng: dict[str, torch.Tensor] = dataclasses.field(default_factory=dict)  # states of torch's generators until they are restored
    time_s: float = 0.0  # seconds that the epoch took so far

    @property
    def n_done(self) -> int:
        """Number of images that are done."""
        return 0 if self.results is None else self.results.shape[1]

    def restore_rng(self, device: torch.device) -> None:
        """Go on with the random numbers of the stopped training. Only the first call does so."""
        rng, self.rng = self.rng, {}
        if "cpu" in rng:
            torch.set_rng_state(rng["cpu"])
        if "cuda" in rng and device.type == "cuda":
            torch.cuda.set_rng_state(rng["cuda"], device)


def copied(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A copy of a network's weights in the main memory."""
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


def training_state(training: "Training") -> dict[str, Any]:
    """The state that the same run needs to go on after its last epoch."""
    return {
        "model": training.model.state_dict(),
        "optimizer": training.optimizer.state_dict(),
        "history": training.history,
        "best": training.best,
        "best_model": training.best_model,  # in the same file: weights and checkpoint are whole or absent together
        "images": training.stems,
        **training.memory.state(),
    }


def stopped_state(training: "Training", time_s: float) -> dict[str, Any]:
    """The state inside an epoch. The resumed run draws the epoch again, so the state holds the memory from before the epoch."""
    cuda = {"cuda": torch.cuda.get_rng_state(training.device)} if training.device.type == "cuda" else {}
    rng = {"cpu": torch.get_rng_state()} | cuda
    position = Position(torch.from_numpy(training.results[:, : training.n_done].copy()), rng, time_s)
    return training_state(training) | training.memory_before | {"position": vars(position)}


def resume(training: "Training", state: dict[str, Any]) -> None:
    """Bring a fresh training to a checkpoint's state. Raise UserError if the checkpoint is of other training images."""
    if state["images"] != training.stems:
        name, folder = training.run.name, training.run.folder
        raise UserError(f"run {name} began with other training images; choose another run_name, or remove {folder}")
    if "best_model" not in state and training.run.best.exists:  # a checkpoint of an earlier version
        training.run.best.load_into(training.model)
        state["best_model"] = copied(training.model)
    training.model.load_state_dict(state["model"])
    training.optimizer.load_state_dict(state["optimizer"])
    for parameter, values in training.optimizer.state.items():  # fused steps need one order in memory, which depends on the device
        for name, value in values.items():
            if torch.is_tensor(value) and value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter).copy_(value)
    training.history = state["history"]
    training.best = state["best"]
    training.best_model = state.get("best_model")
    training.memory.restore(state)
    training.position = Position(**state.get("position", {}))
