"""The report's tables, from a run's artifacts."""

import html
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

# The write-up's rows, in its order; its "Gradien-flow" is mended.
WRITE_UP_PARAMETERS = {
    "batch_size": "Batch size",
    "epochs": "Epochs",
    "learning_rate": "Learning rate",
    "delta_cls_loss": "Delta CLS Loss",
    "dilate": "Dilate",
    "dynamically_balanced_loss": "Dynamically balanced loss",
    "gradient_flow_adjustment": "Gradient-flow adjustment",
    "frequency_of_use_sampling": "Frequency-of-use sampling",
    "weighted_segmentation_loss": "Weighted segmentation loss",
    "use_best_model": "Use best model",
    "best_model_type": "Best model type",
    "validate": "Validate",
    "validate_on_test": "Validate on test",
    "augmentation": "Augmentation",
    "optimizer": "Optimizer",
    "use_negatives": "Use negatives",
    "hard_negative_mining": "Hard negative mining",
}
LOSSES = {"loss": "loss", "decision loss": "loss_decision", "segmentation loss": "loss_segmentation"}  # by title, in its order
SET_NAMES = {"train": "Train", "test": "Test", "val": "Validation"}  # in the write-up's order
SCORE_NAMES = {"precision": "Precision", "recall": "Recall", "f1": "F1", "accuracy": "Accuracy", "threshold": "Threshold"}


def plain(value: Any) -> str:
    """A cell's text: six significant digits, seven for numbers close to 1, whole numbers as they are."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "none"
    if isinstance(value, float | np.floating):
        return f"{value:.7g}" if 0.999 < value < 1 else f"{value:.6g}"
    return str(value)


class Link(NamedTuple):
    """A cell that leads to another page."""

    text: str
    href: str


def _cell(value: Any) -> str:
    if isinstance(value, Link):
        return f'<a href="{html.escape(value.href)}">{_breakable(value.text)}</a>'
    return _breakable(plain(value))


def _breakable(text: str) -> str:
    """HTML of a text whose long words may break behind an underscore."""
    return html.escape(text).replace("_", "_<wbr>")


def to_html(frame: pd.DataFrame) -> str:
    """An HTML table. One of a single row is stacked on narrow screens, each cell behind its column's name."""
    names = [html.escape(str(name)) for name in frame.columns]
    head = "".join(f'<th scope="col">{_breakable(str(name))}</th>' for name in frame.columns)
    rows = (zip(names, map(_cell, row), strict=True) for row in frame.itertuples(index=False))
    body = "".join("<tr>" + "".join(f'<td data-label="{name}">{cell}</td>' for name, cell in row) + "</tr>" for row in rows)
    kind = "results stacked" if len(frame) == 1 else "results"
    return f'<table class="{kind}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def dataset_table(resolved: dict[str, Any]) -> pd.DataFrame:
    """Input channels and size, and samples a set, from params.json."""
    counts = resolved["data"]["counts"]
    rows = {"Input channels": resolved["input_channels"], "Input height": resolved["input_height"], "Input width": resolved["input_width"]}
    rows |= {f"{name} samples": sum(counts[split].values()) for split, name in SET_NAMES.items()}
    return pd.DataFrame({"Parameter": rows.keys(), "Value": pd.Series(list(rows.values()), dtype=object)})


def counts_table(facts: dict[str, Any]) -> pd.DataFrame:
    """Positives, negatives and their sum, by set and in all."""
    rows = [(name, facts["counts"][split]["positives"], facts["counts"][split]["negatives"]) for split, name in SET_NAMES.items()]
    rows.append(("Sum", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    frame = pd.DataFrame(rows, columns=["Set", "Positives", "Negatives"])
    return frame.assign(Sum=frame["Positives"] + frame["Negatives"])


def parameters_table(resolved: dict[str, Any]) -> pd.DataFrame:
    """The rows of the write-up's table of run parameters."""
    values = [resolved[name] for name in WRITE_UP_PARAMETERS]
    values = [{"adam": "Adam", "adamw": "AdamW", "sgd": "SGD"}.get(value, value) for value in values]
    return pd.DataFrame({"Parameter": WRITE_UP_PARAMETERS.values(), "Value": pd.Series(values, dtype=object)})


def other_parameters_table(resolved: dict[str, Any]) -> pd.DataFrame:
    """The parameters the write-up's table lacks; folders stay out of a page that is passed on."""
    hidden = {*WRITE_UP_PARAMETERS, "run_name", "given", "data", "data_root", "negatives_root"}
    rows = {name: value for name, value in resolved.items() if name not in hidden}
    return pd.DataFrame({"Parameter": rows.keys(), "Value": pd.Series(list(rows.values()), dtype=object)})


def decision_table(metrics: dict[str, Any]) -> pd.DataFrame:
    """The decision on test: scores, threshold and counts."""
    names = {**SCORE_NAMES, "tp": "TP", "fp": "FP", "fn": "FN", "tn": "TN"}
    return pd.DataFrame([{title: metrics["decision"][name] for name, title in names.items()}], dtype=object)


def segmentation_table(metrics: dict[str, Any]) -> pd.DataFrame:
    """The 2-pixel figures on test."""
    scores = metrics["segmentation_2px"]
    return pd.DataFrame([{title: scores[name] for name, title in SCORE_NAMES.items() if name in scores}], dtype=object)
