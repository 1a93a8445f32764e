"""Which images an epoch trains on: sampling by use, and mining of hard images."""

import numpy as np
import torch

from crack_utils.config import RunParameters


class ImageMemory:
    """What sampling and mining need to know of each training image."""

    def __init__(self, n_images: int):
        self.difficulty = np.full(n_images, np.nan)  # when the image was last trained on; NaN: never
        self.uses = np.zeros(n_images, int)  # how often frequency-of-use sampling drew the image

    def state(self) -> dict[str, torch.Tensor]:
        """A copy for a checkpoint."""
        return {"difficulty": torch.from_numpy(self.difficulty.copy()), "uses": torch.from_numpy(self.uses.copy())}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Take over a checkpoint's copy."""
        self.difficulty, self.uses = state["difficulty"].numpy().copy(), state["uses"].numpy().copy()


def plan_epoch(
    params: RunParameters, has_crack: np.ndarray, memory: ImageMemory, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, float]:
    """Draw an epoch's images. Sampling by use counts the drawn images in ``memory.uses``.

    Returns:
        Indices of the images of the first pass; whether each of them counts in the epoch's mean losses, bool; and the share of the
        images, the hardest, that a second pass trains on again.
    """
    images = np.arange(len(has_crack))
    if params.frequency_of_use_sampling:
        images = draw_by_use(has_crack, memory.uses, rng)
        memory.uses += np.bincount(images, minlength=len(has_crack))
    order = rng.permutation(images)
    if not params.hard_batches:
        return order, np.ones(len(order), bool), params.hard_negative_mining
    k, b, least_share = params.hard_batches
    return *mix_hard(order, hard_set(memory.difficulty, least_share), k, b, rng), 0.0


def draw_by_use(has_crack: np.ndarray, uses: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Frequency-of-use sampling: indices of every cracked image, then of as many crack-free ones, little-used ones first.

    A crack-free image of N that was used f times has w = 1 - f / max f and the weight (w - median w + 1) to the power 4 ln N. If there
    are fewer crack-free images than needed, all are drawn as evenly as possible. ``uses`` (N,) counts how often each image was drawn.
    """
    positives, negatives = np.flatnonzero(has_crack), np.flatnonzero(~has_crack)
    if len(negatives) == 0:
        return positives
    weight = 1 - uses[negatives] / max(1, uses[negatives].max())
    with np.errstate(divide="ignore"):
        log_weight = 4 * np.log(len(negatives)) * np.log(weight - np.median(weight) + 1)
    # The largest values of log weight + Gumbel noise are a weighted draw without replacement, for weights of any range.
    ranked = negatives[np.argsort(-(log_weight + rng.gumbel(size=len(negatives))), kind="stable")]
    rounds, rest = divmod(len(positives), len(negatives))
    if rounds:  # too few images: rank the rest by use alone, so that differences of use do not add up over a training
        ranked = negatives[np.lexsort([rng.random(len(negatives)), uses[negatives]])]
    return np.concatenate([positives, np.tile(negatives, rounds), ranked[:rest]])


def hardest(difficulty: np.ndarray, share: float) -> np.ndarray:
    """Indices of the ``share`` of samples with the greatest difficulty (661 of 3307 for 0.2), hardest first."""
    return np.argsort(-difficulty, kind="stable")[: int(share * len(difficulty) + 1e-9)]  # 0.29 of 100 is 29


def hard_set(difficulty: np.ndarray, least_share: float) -> np.ndarray:
    """Indices of the hard samples, from the difficulty (N,) of all samples; NaN for a sample that was never trained on.

    A sample is hard if its difficulty lies more than 2 standard deviations above the mean. If no more than ``least_share`` of all
    samples are hard, the cut is 1, then 0.5, then 0 deviations. If this is still so, all samples with a difficulty are hard.
    """
    if np.isnan(difficulty).all():
        return np.array([], int)
    for cut in (2, 1, 0.5, 0):
        above = np.flatnonzero(difficulty > np.nanmean(difficulty) + cut * np.nanstd(difficulty))
        if len(above) > least_share * len(difficulty):
            return above
    return np.flatnonzero(~np.isnan(difficulty))


def mix_hard(order: np.ndarray, hard: np.ndarray, k: int, b: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Put ``k`` random samples of the hard set after each ``b - k`` images of ``order``, for batches of ``b``.

    Returns the longer order, and whether each of its images comes from ``order``, bool.
    """
    if len(hard) == 0:
        return order, np.ones(len(order), bool)
    parts, is_first = [], []
    for start in range(0, len(order), b - k):
        first = order[start : start + b - k]
        parts += [first, rng.choice(hard, k, replace=len(hard) < k)]
        is_first += [True] * len(first) + [False] * k
    return np.concatenate(parts), np.array(is_first)
