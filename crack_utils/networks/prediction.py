"""The predictions of a network for a data set."""

from collections.abc import Iterator

import torch
from torch import nn

from crack_utils.data import Crop, CropDataset, batches, unfit


def predict(
    model: nn.Module, dataset: CropDataset, device: torch.device, batch_size: int = 1, num_workers: int = 0
) -> Iterator[tuple[Crop, torch.Tensor, float]]:
    """Predict each crop of a data set.

    Yields:
        The crop; its segmentation probabilities at its own size, (H, W) float32 on ``device``; its decision probability.
    """
    model.eval()
    for batch in batches(dataset, range(len(dataset)), batch_size, num_workers):
        with torch.inference_mode():
            decision_logits, seg_logits = model(batch.image.to(device))
            decision_probs, seg_probs = decision_logits.sigmoid().cpu(), seg_logits.sigmoid()
        for index, decision_prob, seg_prob in zip(batch.index.tolist(), decision_probs, seg_probs, strict=True):
            yield dataset.crops[index], unfit(seg_prob[0], dataset.placements[index]), decision_prob.item()
