"""Counts, scores, distances, geometry, uncertainty: arrays in, numbers out; no files, no runs, and no torch without tensors.

Add a figure of the evaluation as one entry of FIGURES in ``figures.py``; metrics.json, the tables and docs/figures.md follow.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "arrays": ["check_finite"],
        "counts": ["dilate", "disc_counts", "tolerance_counts", "tolerance_maps"],
        "figures": ["FIGURES", "Figure", "figures_markdown", "protocol_figures"],
        "geometry": ["cl_dice", "crack_geometry", "dilate_disc", "hd95", "skeleton", "to_millimetres"],
        "images": ["FAR_PX", "RADII_PX", "WIDTHS_PX", "Measured", "measure"],
        "judgement": ["Judgement", "choose_threshold", "judge"],
        "pixels": ["binned_average_precision", "calibration", "probability_histogram"],
        "scores": [
            *("SCORES", "best_threshold", "disc_scores", "intersection_over_union", "optimal_scores", "precision_recall_f1"),
            *("average_precision", "best_decision_threshold", "decision_curve", "decision_scores", "roc_curve"),
        ],
        "summary": [
            *("decision_ranking", "engineering", "failures", "false_alarms", "headline", "in_millimetres", "intervals"),
            *("pick_examples", "without_leaks", "FEW_PHOTOS", "LEAST_PHOTOS", "RESAMPLES", "bootstrap_interval", "paired_difference"),
        ],
        "windows": ["HALO", "geometry_by_windows"],
        "thresholds": ["SEG_THRESHOLDS", "exceeded"],
    },
)
