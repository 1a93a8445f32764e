"""From a training to a checkpoint and back."""

import dataclasses
from typing import TYPE_CHECKING, Any

import torch

from crack_utils.errors import UserError

if TYPE_CHECKING:
    from crack_utils.training.loop import Training


@dataclasses.dataclass
class Position:
    """How far a stopped training came in its epoch.

    Args:
        results: the loss by term and the difficulty of each image that is done, (terms + 1, images done).
        rng: states of torch's generators; emptied once the states are restored.
        time_s: seconds that the epoch took so far.
    """

    results: torch.Tensor | None = None
    rng: dict[str, torch.Tensor] = dataclasses.field(default_factory=dict)
    time_s: float = 0.0

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


def rng_states(device: torch.device) -> dict[str, torch.Tensor]:
    """States of torch's generators."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def training_state(training: "Training") -> dict[str, Any]:
    """The state that the same run needs to go on after its last epoch."""
    return {
        "model": training.model.state_dict(),
        "optimizer": training.optimizer.state_dict(),
        "history": training.history,
        "best": vars(training.best),
        "images": image_names(training),
        **training.memory.state(),
    }


def resume(training: "Training", state: dict[str, Any]) -> None:
    """Bring a fresh training to a checkpoint's state.

    Raises:
        UserError: the checkpoint is of other training images.
    """
    if state["images"] != image_names(training):
        name, folder = training.run.name, training.run.folder
        raise UserError(f"run {name} began with other training images; choose another run_name, or remove {folder}")
    training.model.load_state_dict(state["model"])
    training.optimizer.load_state_dict(state["optimizer"])
    training.history = state["history"]
    vars(training.best).update(state["best"])
    training.memory.restore(state)
    training.position = Position(**state.get("position", {}))


def image_names(training: "Training") -> list[str]:
    """The stems of the training images, in order."""
    return [crop.pair.stem for crop in training.data.split("train").crops]
