"""Counts, then scores; the choice of thresholds. The functions take arrays or tensors, and return plain numbers and small arrays.

A pixel is predicted as crack where its probability is *above* the segmentation threshold. An image is decided cracked where its
probability is *at or above* the decision threshold.

One rule for empty masks holds everywhere. An image whose truth has no crack counts in no figure of segmentation, neither in a mean nor
in a pooled one. It counts in the decision, and its predicted pixels are false alarms, a separate figure. A cracked image with an empty
predicted mask counts with 0 as precision, recall, F1, IoU and clDice, and with the image's diagonal as HD95.
"""

from crack_utils.scoring.counts import dilate, disc_counts, tolerance_counts, tolerance_maps
from crack_utils.scoring.geometry import cl_dice, crack_geometry, dilate_disc, hd95, skeleton, to_millimetres
from crack_utils.scoring.pixels import binned_average_precision, calibration, probability_histogram
from crack_utils.scoring.scores import (
    average_precision,
    best_decision_threshold,
    best_threshold,
    decision_curve,
    decision_scores,
    disc_scores,
    intersection_over_union,
    optimal_scores,
    precision_recall_f1,
    roc_curve,
)
from crack_utils.scoring.thresholds import SEG_THRESHOLDS, exceeded

# fmt: off
__all__ = [
    "SEG_THRESHOLDS", "average_precision", "best_decision_threshold", "best_threshold", "binned_average_precision", "calibration",
    "cl_dice", "crack_geometry", "decision_curve", "decision_scores", "dilate", "dilate_disc", "disc_counts", "disc_scores", "exceeded",
    "hd95", "intersection_over_union", "optimal_scores", "precision_recall_f1", "probability_histogram", "roc_curve", "skeleton",
    "to_millimetres", "tolerance_counts", "tolerance_maps",
]
