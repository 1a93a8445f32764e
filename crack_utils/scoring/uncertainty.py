"""How much a figure would vary on other photos of the same kind.

Crops of one photo resemble each other. So whole photos are drawn, never crops: a cluster bootstrap (Davison and Hinkley 1997, 3.8).
"""

import itertools
from collections.abc import Callable, Sequence

import numpy as np

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

    Args:
        values: (N, K) values to sum, such as the F1 of each image and a 1 that counts the image.
        photos: (N,) the photo of each image.
        figure: turns sums (B, K) into figures (B,), NaN where a figure is not defined.

    Returns:
        The 2.5th and the 97.5th percentile. Both are NaN with fewer than LEAST_PHOTOS photos, and where all resamples give the same
        figure: the photos then do not show how much the figure varies.
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

    Args:
        a, b: (N,) the score of each image by each run.
        photos: (N,) the photo of each image.

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
