"""Which images an epoch trains on."""

import numpy as np


def draw_by_use(has_crack: np.ndarray, uses: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Frequency-of-use sampling: an epoch's images, every cracked one and as many crack-free ones, little-used ones first.

    A crack-free image of N that was used f times has weight w = 1 - f / max f, w - median w + 1, to the power 4 ln N. Where there
    are fewer than needed, each is taken as evenly as possible.

    Args:
        has_crack: (N,) bool.
        uses: (N,) how often each was drawn before.

    Returns:
        Indices, the cracked images first.
    """
    positives, negatives = np.flatnonzero(has_crack), np.flatnonzero(~has_crack)
    if len(negatives) == 0:
        return positives
    weight = 1 - uses[negatives] / max(1, uses[negatives].max())
    with np.errstate(divide="ignore"):
        log_weight = 4 * np.log(len(negatives)) * np.log(weight - np.median(weight) + 1)
    # The largest of log weight + Gumbel noise are a weighted draw without replacement, whatever the weights' range.
    ranked = negatives[np.argsort(-(log_weight + rng.gumbel(size=len(negatives))), kind="stable")]
    rounds, rest = divmod(len(positives), len(negatives))
    if rounds:  # too few: the rest by use alone, or the differences would add up over a training
        ranked = negatives[np.lexsort([rng.random(len(negatives)), uses[negatives]])]
    return np.concatenate([positives, np.tile(negatives, rounds), ranked[:rest]])


def hardest(difficulty: np.ndarray, share: float) -> np.ndarray:
    """Indices of the ``share`` of samples with the greatest difficulty (661 of 3307 for 0.2), hardest first."""
    return np.argsort(-difficulty, kind="stable")[: int(share * len(difficulty) + 1e-9)]  # 0.29 of 100 is 29


def hard_set(difficulty: np.ndarray, least_share: float) -> np.ndarray:
    """Indices of the samples whose last difficulty (NaN: never trained on) lies more than 2, else 1, 0.5 or 0 standard
    deviations above the mean: the first cut that holds over ``least_share`` of all, else all; none before the first epoch."""
    if np.isnan(difficulty).all():
        return np.array([], int)
    for cut in (2, 1, 0.5, 0):
        above = np.flatnonzero(difficulty > np.nanmean(difficulty) + cut * np.nanstd(difficulty))
        if len(above) > least_share * len(difficulty):
            return above
    return np.flatnonzero(~np.isnan(difficulty))


def mix_hard(order: np.ndarray, hard: np.ndarray, k: int, b: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Put ``k`` of the hard set, drawn at random, behind each ``b - k`` images of ``order``, for batches of ``b``.

    Returns:
        The longer order, and where it holds images of ``order`` (bool).
    """
    if len(hard) == 0:
        return order, np.ones(len(order), bool)
    parts, is_first = [], []
    for start in range(0, len(order), b - k):
        first = order[start : start + b - k]
        parts += [first, rng.choice(hard, k, replace=len(hard) < k)]
        is_first += [True] * len(first) + [False] * k
    return np.concatenate(parts), np.array(is_first)
