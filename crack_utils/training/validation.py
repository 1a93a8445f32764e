"""Validation while a training runs, and the choice of the best epoch."""

import dataclasses

import torch
from torch import nn

from crack_utils.config import RunParameters
from crack_utils.data import RunData
from crack_utils.networks import predict
from crack_utils.scoring import average_precision, choose_threshold, judge


def validate(model: nn.Module, params: RunParameters, data: RunData, device: torch.device) -> dict[str, float]:
    """The history's ``val_...`` figures, of the split that chooses the checkpoint, at the threshold with the best mean F1."""
    val = judge(predict(model, data.split(params.choosing_split), device, params.batch_size, params.num_workers))
    at = choose_threshold(val)
    scores = val.segmentation(at)
    return {
        **{f"val_{name}": scores[name] for name in ("precision", "recall", "f1")},
        "val_seg_threshold": float(val.thresholds[at]),
        "val_decision_ap": average_precision(val.has_crack, val.decision_probs),
    }


@dataclasses.dataclass
class BestEpoch:
    """The best validated epoch so far, and the best figures so far, which may be of other epochs."""

    epoch: int = 0
    val_f1: float = -1.0
    val_decision_ap: float = -1.0

    def update(self, row: dict[str, float], best_model_type: str) -> bool:
        """Compare a validated epoch, a row of the history. Returns whether the epoch is the best so far."""
        is_best = is_better(row, vars(self), best_model_type)
        self.val_f1, self.val_decision_ap = max(row["val_f1"], self.val_f1), max(row["val_decision_ap"], self.val_decision_ap)
        if is_best:
            self.epoch = row["epoch"]
        return is_best


def is_better(row: dict[str, float], best: dict[str, float], best_model_type: str) -> bool:
    """Whether a validation is better than the best so far.

    Args:
        best_model_type: seg compares F1; dec compares the decision's average precision; with both, neither may be below its best.
    """
    if best_model_type == "both":
        return row["val_f1"] >= best["val_f1"] and row["val_decision_ap"] >= best["val_decision_ap"]
    name = {"seg": "val_f1", "dec": "val_decision_ap"}[best_model_type]
    return row[name] > best[name]
