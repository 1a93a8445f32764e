"""Tables of a run: the write-up's, and all test images."""

from typing import Any

import numpy as np
import pandas as pd

from crack_utils.config import FOLDERS
from crack_utils.reporting.html import Link, unit_and_scale
from crack_utils.scoring import in_millimetres, pick_examples

# The write-up's rows in its order, without its misprint "Gradien-flow". A row's title gives its parameter's name.
WRITE_UP_ROWS = (
    *("Batch size", "Epochs", "Learning rate", "Delta CLS Loss", "Dilate", "Dynamically balanced loss", "Gradient-flow adjustment"),
    *("Frequency-of-use sampling", "Weighted segmentation loss", "Use best model", "Best model type", "Validate", "Validate on test"),
    *("Augmentation", "Optimizer", "Use negatives", "Hard negative mining"),
)
WRITE_UP_PARAMETERS = {title.lower().replace(" ", "_").replace("-", "_"): title for title in WRITE_UP_ROWS}
LOSSES = {"loss": "loss", "decision loss": "loss_decision", "segmentation loss": "loss_segmentation"}  # in the write-up's order
SET_NAMES = {"train": "Train", "test": "Test", "val": "Validation"}  # in the write-up's order
SCORE_NAMES = {"precision": "Precision", "recall": "Recall", "f1": "F1", "accuracy": "Accuracy", "threshold": "Threshold"}


def loss_columns(history: pd.DataFrame) -> dict[str, str]:
    """The losses in a history: title and column, the write-up's losses first."""
    others = [name for name in history.columns if name.startswith("loss_") and name not in LOSSES.values()]
    return LOSSES | {f"{name.removeprefix('loss_').replace('_', ' ')} loss": name for name in others}


def dataset_table(resolved: dict[str, Any]) -> pd.DataFrame:
    """Input channels and size, and the number of samples in each set."""
    rows = {f"Input {name}": resolved[f"input_{name}"] for name in ("channels", "height", "width")}
    counts = resolved["data"]["counts"]
    return _values(rows | {f"{name} samples": sum(counts[split].values()) for split, name in SET_NAMES.items()})


def counts_table(facts: dict[str, Any]) -> pd.DataFrame:
    """Positives, negatives and their sum, for each set and in total."""
    rows = [(name, facts["counts"][split]["positives"], facts["counts"][split]["negatives"]) for split, name in SET_NAMES.items()]
    rows.append(("Sum", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    frame = pd.DataFrame(rows, columns=["Set", "Positives", "Negatives"])
    return frame.assign(Sum=frame["Positives"] + frame["Negatives"])


def parameters_table(resolved: dict[str, Any]) -> pd.DataFrame:
    """The rows of the write-up's table of run parameters."""
    values = resolved | {"optimizer": {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD"}[resolved["optimizer"]]}
    return _values({title: values[name] for name, title in WRITE_UP_PARAMETERS.items()})


def other_parameters_table(resolved: dict[str, Any]) -> pd.DataFrame:
    """The parameters that the write-up's table lacks, without folders: people pass pages on."""
    hidden = {*WRITE_UP_PARAMETERS, *FOLDERS, "format", "run_name", "given", "data"}
    return _values({name: value for name, value in resolved.items() if name not in hidden})


def _values(rows: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame({"Parameter": rows.keys(), "Value": pd.Series(list(rows.values()), dtype=object)})


def decision_table(metrics: dict[str, Any]) -> pd.DataFrame:
    """The decision on test: scores, threshold and counts."""
    names = SCORE_NAMES | {"tp": "TP", "fp": "FP", "fn": "FN", "tn": "TN"}
    return pd.DataFrame([{title: metrics["decision"][name] for name, title in names.items()}], dtype=object)


def segmentation_table(metrics: dict[str, Any]) -> pd.DataFrame:
    """The scores on test within 2 pixels."""
    scores = metrics["segmentation_2px"]
    return pd.DataFrame([{title: scores[name] for name, title in SCORE_NAMES.items() if name in scores}], dtype=object)


def per_image_table(frame: pd.DataFrame, mm_per_px: float | None, examples: dict[str, int]) -> pd.DataFrame:
    """The main columns of per_image.csv, in mm if a pixel's size is known. The first ``examples`` of each kind link to their pictures."""
    unit, _ = unit_and_scale(mm_per_px)
    titles = {"stem": "Image", "has_crack": "Crack", "decision_prob": "Decision score", **SCORE_NAMES, "iou": "IoU", "cl_dice": "clDice"}
    for name, title in {"length": "length", "width_mean": "width"}.items():
        titles |= {f"{name}_{unit}": f"{title.title()} ({unit})", f"true_{name}_{unit}": f"True {title} ({unit})"}
    measured = in_millimetres(frame, mm_per_px).round(4)
    table = measured[[name for name in titles if name in measured and name != "threshold"]].rename(columns=titles)
    shown = pick_examples(frame).groupby("kind", sort=False)["stem"]
    places = {stem: f"#case-{kind}-{number}" for kind, stems in shown for number, stem in enumerate(stems[: examples.get(kind, 0)])}
    return table.assign(
        Image=[Link(stem, places[stem]) if stem in places else stem for stem in frame["stem"]],
        Crack=np.where(frame["has_crack"], "yes", "no"),
    )
