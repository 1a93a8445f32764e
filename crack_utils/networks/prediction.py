"""What a network says of a data set."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from crack_utils.data.crops import Crop
from crack_utils.data.dataset import CropDataset, batches
from crack_utils.data.fitting import unfit
from crack_utils.errors import UserError


def predict(
    model: nn.Module, dataset: CropDataset, device: torch.device, batch_size: int = 1, num_workers: int = 0
) -> Iterator[tuple[Crop, torch.Tensor, float]]:
    """Yield each crop with its segmentation probabilities at its own size, (H, W) float32 where the model is, and its decision
    probability."""
    model.eval()
    for batch in batches(dataset, range(len(dataset)), batch_size, num_workers):
        with torch.inference_mode():
            decision_logits, seg_logits = model(batch.image.to(device))
            decision_probs, seg_probs = decision_logits.sigmoid().cpu(), seg_logits.sigmoid()
        for index, decision_prob, seg_prob in zip(batch.index.tolist(), decision_probs, seg_probs, strict=True):
            yield dataset.crops[index], unfit(seg_prob[0], dataset.placements[index]), decision_prob.item()


def check_finite(seg_prob: torch.Tensor | np.ndarray) -> None:
    """Raise UserError for predictions that are not numbers."""
    if not torch.isfinite(torch.as_tensor(seg_prob)).all():
        raise UserError("the network's predictions are not numbers; train it again with a lower learning_rate")
