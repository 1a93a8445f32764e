"""The headline figures of a test set, the cracks' geometry and the failures, and how much figures vary on other photos.

Crops of one photo resemble each other, so intervals draw whole photos: a cluster bootstrap (Davison and Hinkley 1997, 3.8).
"""

import itertools
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd

from crack_utils.scoring.arrays import numbers
from crack_utils.scoring.geometry import to_millimetres
from crack_utils.scoring.images import GEOMETRY, WIDTHS_PX, exact_counts
from crack_utils.scoring.scores import SCORES, average_precision, decision_scores, roc_curve

RESAMPLES = 2000
FEW_PHOTOS = 20  # with fewer, an interval is too narrow: with 10 photos it covers the truth in about 92 of 100 cases, with 6 in 83
LEAST_PHOTOS = 5  # with fewer, there is no interval: with 4 photos it would cover the truth in 79 of 100 cases


def photo_sums(values: np.ndarray, photos: Sequence[str]) -> np.ndarray:
    """Sum the values (N, K) over the images of each photo, (N,) names; (P, K) for P photos."""
    names, index = np.unique(np.asarray(photos, str), return_inverse=True)
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, index, values)
    return sums


def bootstrap_interval(
    values: np.ndarray, photos: Sequence[str], figure: Callable[[np.ndarray], np.ndarray], resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """The 95 % percentile interval, over resampled photos, of a figure that depends only on sums over images.

    ``values`` (N, K) are summed, such as the F1 of each image and a 1 that counts the image; ``photos`` (N,) name the photo of each image;
    ``figure`` turns sums (B, K) into figures (B,), NaN where a figure is not defined. Returns the 2.5th and the 97.5th percentile. Both
    are NaN with fewer than LEAST_PHOTOS photos, and where all resamples give the same figure: the photos do not show how it varies.
    """
    sums = photo_sums(np.asarray(values, np.float64), photos)
    if len(sums) < LEAST_PHOTOS:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=resamples)
    figures = figure(drawn @ sums)
    if np.isnan(figures).all() or np.nanmin(figures) == np.nanmax(figures):
        return float("nan"), float("nan")
    low, high = np.nanpercentile(figures, [2.5, 97.5])
    return float(low), float(high)


def ratio(sums: np.ndarray) -> np.ndarray:
    """The first column divided by the second. With values and ones as columns this is a mean over images."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums[:, 0] / sums[:, 1]


def ratio_or_zero(sums: np.ndarray) -> np.ndarray:
    """As :func:`ratio`, but 0 where the second column is 0, as for precision and F1."""
    return np.nan_to_num(ratio(sums), nan=0.0)


def paired_difference(
    a: np.ndarray, b: np.ndarray, photos: Sequence[str], resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, float | int]:
    """Test whether run A scores better than run B on the same images. The test covers the choice of photos, not the choice of seeds.

    Takes (N,) scores of each image by each run, and the photo of each image.

    Returns:
        ``difference`` (mean of a - b), its 95 % interval over photos (``low``, ``high``), the number of ``photos``, and ``p`` of a paired
        permutation test. An exchange swaps the two runs' scores on some of the photos; ``p`` is the share of exchanges with a mean
        difference at least as large. All exchanges are tried if there are at most ``resamples``, else that many random ones.
    """
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    values = np.stack([difference, np.ones_like(difference)], axis=1)
    low, high = bootstrap_interval(values, photos, ratio, resamples, seed)
    sums = photo_sums(values, photos)[:, 0]
    if 2 ** len(sums) <= resamples:
        signs = np.array(list(itertools.product([1.0, -1.0], repeat=len(sums))))
    else:  # the observed scores are one of the arrangements
        drawn = np.random.default_rng(seed).choice([-1.0, 1.0], size=(resamples, len(sums)))
        signs = np.concatenate([np.ones((1, len(sums))), drawn])
    # The tolerance lets ties count in spite of rounding.
    extreme = np.abs(signs @ sums) >= abs(sums.sum()) - 1e-9
    return {"difference": float(difference.mean()), "low": low, "high": high, "p": float(extreme.mean()), "photos": len(sums)}


def headline(frame: pd.DataFrame, decided_at: float) -> dict[str, Any]:
    """The record's figures of segmentation and decision on the images of a frame; None without a cracked image."""
    cracked = frame[frame["has_crack"]]
    if cracked.empty:
        return {"segmentation_2px": None, "decision": None}
    return {
        "segmentation_2px": {name: float(cracked[name].mean()) for name in SCORES},
        "decision": decision_scores(frame["has_crack"], frame["decision_prob"], decided_at),
    }


def false_alarms(frame: pd.DataFrame) -> dict[str, float | int | None]:
    """The number of crack-free images, how many of them show a predicted crack, and the mean share of their pixels predicted as crack."""
    free = frame[~frame["has_crack"]]
    share = float((free["predicted_px"] / free["image_px"]).mean()) if len(free) else None
    return {"images": len(free), "images_with_false_alarm": int((free["predicted_px"] > 0).sum()), "false_alarm_pixel_share": share}


def decision_ranking(frame: pd.DataFrame) -> dict[str, float | None]:
    """How well the decision's scores rank images, whatever the threshold: average precision, and the area under the ROC curve.

    The area is None without a crack-free image.
    """
    has_crack, probs = frame["has_crack"].to_numpy(), frame["decision_prob"].to_numpy()
    false, true = roc_curve(has_crack, probs) if not has_crack.all() else (None, None)
    area = None if false is None else float(np.trapezoid(true, false))
    return {"average_precision": average_precision(has_crack, probs), "roc_auc": area}


def without_leaks(frame: pd.DataFrame, leaking: Collection[str], decided_at: float) -> dict[str, Any] | None:
    """The headline figures without the test images that leak from train or val; None if no image leaks."""
    leaks = frame["stem"].isin(leaking)
    return {"images_left_out": int(leaks.sum()), **headline(frame[~leaks], decided_at)} if leaks.any() else None


def intervals(frame: pd.DataFrame, decided_at: float) -> dict[str, Any]:
    """95 % intervals of the headline figures, by resampling photos.

    ``photos`` are the numbers of photos with a crack and without one. A figure has no interval where the images of one kind that count
    in it come from fewer than LEAST_PHOTOS photos.
    """
    frame = frame.assign(one=1.0, decided=frame["decision_prob"].astype(float) >= decided_at)
    cracked, crack_free = frame[frame["has_crack"]], frame[~frame["has_crack"]]
    truth, decided = frame["has_crack"], frame["decided"]
    found: dict[str, Any] = {
        "photos": {"cracked": cracked["photo"].nunique(), "crack_free": crack_free["photo"].nunique()},
        "segmentation_2px": {name: _interval(cracked, cracked[name], cracked["one"]) for name in SCORES},
        "crack_iou_pooled": _interval(cracked, cracked["hit_0px"], sum(exact_counts(cracked))),
        "length_px_by_true": _interval(cracked, cracked["length_px"], cracked["true_length_px"]),
        "decision": {
            "precision": _interval(frame, decided & truth, decided, figure=ratio_or_zero),
            "recall": _interval(cracked, cracked["decided"], cracked["one"]),
            "f1": _interval(frame, 2 * (decided & truth), decided + truth.astype(int), figure=ratio_or_zero),
            "accuracy": _interval(frame, decided == truth, frame["one"]),
        },
    }
    if len(crack_free):
        share = crack_free["predicted_px"] / crack_free["image_px"]
        found["decision"]["false_positive_share"] = _interval(crack_free, crack_free["decided"], crack_free["one"])
        found["false_alarm_pixel_share"] = _interval(crack_free, share, crack_free["one"])
    return found


def _interval(rows: pd.DataFrame, *values: pd.Series, figure: Callable[[np.ndarray], np.ndarray] = ratio) -> list[float | None]:
    """The interval of a figure of sums of ``values``, by the photos of ``rows``."""
    if (rows.groupby("has_crack")["photo"].nunique() < LEAST_PHOTOS).any():
        return [None, None]
    return numbers(np.array(bootstrap_interval(np.stack(values, axis=1).astype(float), rows["photo"], figure)))


def engineering(frame: pd.DataFrame, mm_per_px: float | None = None) -> dict[str, Any]:
    """Length, width and density of cracks over the cracked images, predicted and true, and the mean absolute errors of an image.

    The errors of widths are means over the images with a prediction. ``false_length_px`` is the length predicted on crack-free images.
    If a pixel's size is known, the figures come in millimetres too.
    """
    cracked, free = frame[frame["has_crack"]], frame[~frame["has_crack"]]
    found: dict[str, Any] = {"images": len(cracked), "false_length_px": float(free["length_px"].sum())}
    for name in GEOMETRY:
        for side in ("", "true_"):
            value = _over_images(cracked, name, side)
            found[f"{side}{name}"] = None if np.isnan(value) else float(value)
        errors = (cracked[name] - cracked[f"true_{name}"]).abs()
        found[f"{name}_mean_absolute_error"] = None if errors.isna().all() else float(errors.mean())
    for side in ("", "true_") if mm_per_px else ():
        measured = {name: np.nan if found[side + name] is None else found[side + name] for name in GEOMETRY}
        scaled = to_millimetres(measured, mm_per_px)
        found |= {side + name: None if np.isnan(value) else value for name, value in scaled.items()}
    return found


def _over_images(cracked: pd.DataFrame, name: str, side: str) -> float:
    """A measure over all images: lengths add up, widths are weighted by length, density is length by area; nan if there is none."""
    values, lengths = cracked[f"{side}{name}"], cracked[f"{side}length_px"]
    if name == "length_px":
        return values.sum()
    if name == "density":
        return lengths.sum() / cracked["image_px"].sum()
    kept = values.notna() & (lengths > 0)
    return np.average(values[kept], weights=lengths[kept]) if kept.any() else np.nan


def failures(frame: pd.DataFrame) -> dict[str, Any]:
    """Where the segmentation of the cracked images fails.

    ``by_width`` is the share of the true cracks' centrelines found within 2 px, for each class of crack width, with its 95 % interval.
    ``fp_px`` counts the false alarms, ``stray_px`` those over FAR_PX from any crack.
    """
    cracked = frame[frame["has_crack"]]
    by_width = {}
    for name in WIDTHS_PX:
        having = cracked[cracked[f"line_px_{name}"] > 0]
        counts = having[[f"line_found_px_{name}", f"line_px_{name}"]].to_numpy(float)
        found, line = counts.sum(axis=0)
        interval = numbers(np.array(bootstrap_interval(counts, having["photo"], ratio)))
        by_width[name] = {"line_px": int(line), "found": float(found / line) if line else None, "interval": interval}
    return {"by_width": by_width, "fp_px": int(cracked["fp"].sum()), "stray_px": int(cracked["stray_px"].sum())}


def in_millimetres(frame: pd.DataFrame, mm_per_px: float | None) -> pd.DataFrame:
    """Rows of images with their geometry in millimetres too, if a pixel's size is known."""
    if mm_per_px is None:
        return frame
    geometry = [to_millimetres({name: frame[f"{side}{name}"] for name in GEOMETRY}, mm_per_px) for side in ("", "true_")]
    return frame.assign(**geometry[0], **{f"true_{name}": values for name, values in geometry[1].items()})


def pick_examples(per_image: pd.DataFrame, worst: int = 12, median: int = 6, best: int = 6, crack_free: int = 6) -> pd.DataFrame:
    """Pick the rows of per_image.csv that are worth looking at. The run keeps the photos of these rows.

    The rows get a column ``kind``: ``best``, ``worst``, ``median``, ``crack-free`` (those with the highest decision probability). If there
    are few images, one image may be of several kinds.
    """
    cracked = per_image[per_image.has_crack]
    middle = max(0, (len(cracked) - median) // 2)
    alarming = per_image[~per_image.has_crack].sort_values("decision_prob", ascending=False, kind="stable")
    kinds = {
        "best": cracked[::-1][:best],
        "worst": cracked[:worst],
        "median": cracked[middle : middle + median],
        "crack-free": alarming[:crack_free],
    }
    return pd.concat([rows.assign(kind=kind) for kind, rows in kinds.items()])
