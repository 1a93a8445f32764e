"""How sure a figure is: what would have come out on other photos of the same kind.

Crops of one photo are alike, so photos are drawn, never crops: a cluster bootstrap (Davison and Hinkley 1997, 3.8).
"""

import itertools
from collections.abc import Callable, Sequence

import numpy as np

RESAMPLES = 2000
FEW_PHOTOS = 20  # below, an interval is too narrow: of 10 photos it covers the truth in about 92 of 100 cases, of 6 in 83
LEAST_PHOTOS = 5  # below, there is none: of 4 photos it would cover the truth in 79 of 100 cases


def photo_sums(values: np.ndarray, photos: Sequence[str]) -> np.ndarray:
    """Sums over the images of each photo: (N, K) values and (N,) photo names to (P, K)."""
    names, index = np.unique(np.asarray(photos, str), return_inverse=True)
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, index, values)
    return sums


def bootstrap_interval(
    values: np.ndarray, photos: Sequence[str], figure: Callable[[np.ndarray], np.ndarray], resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """The 95 % percentile interval of a figure that depends on sums over images alone, resampling photos.

    Args:
        values: (N, K), what is summed, such as the F1 of each image and a 1 to count it by.
        photos: (N,) the photo of each image.
        figure: from sums (B, K) to figures (B,), NaN where it has none.

    Returns:
        The 2.5th and the 97.5th percentile; NaN with fewer than LEAST_PHOTOS, and where no resample has another figure: all or
        none of a few says nothing of how sure that is.
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
    """The first column by the second: a mean over images, where these are values and ones."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums[:, 0] / sums[:, 1]


def ratio_or_zero(sums: np.ndarray) -> np.ndarray:
    """As :func:`ratio`, but 0 where there is nothing to divide by, as precision and F1 have it."""
    return np.nan_to_num(ratio(sums), nan=0.0)


def paired_difference(
    a: np.ndarray, b: np.ndarray, photos: Sequence[str], resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, float | int]:
    """Whether run A scores better than run B on the same images, had other photos been taken. It knows nothing of other seeds.

    Args:
        a, b: (N,) scores of the images by each run.
        photos: (N,) the photo of each image.

    Returns:
        ``difference`` (mean of a - b), its 95 % ``low`` and ``high`` over photos, ``photos``, and ``p``: the share of exchanges of
        the two runs, photo by photo, with a mean difference at least as large (a paired permutation test): of all exchanges where
        these are no more than ``resamples``, else of so many random ones.
    """
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    values = np.stack([difference, np.ones_like(difference)], axis=1)
    low, high = bootstrap_interval(values, photos, ratio, resamples, seed)
    sums = photo_sums(values, photos)[:, 0]
    if 2 ** len(sums) <= resamples:
        signs = np.array(list(itertools.product([1.0, -1.0], repeat=len(sums))))
    else:  # the observed arrangement is one of them
        drawn = np.random.default_rng(seed).choice([-1.0, 1.0], size=(resamples, len(sums)))
        signs = np.concatenate([np.ones((1, len(sums))), drawn])
    # The tolerance keeps rounding from deciding ties.
    extreme = np.abs(signs @ sums) >= abs(sums.sum()) - 1e-9
    return {
        "difference": float(difference.mean()),
        "low": low,
        "high": high,
        "p": float(extreme.mean()),
        "photos": len(sums),
    }
