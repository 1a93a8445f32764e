"""The definitions of the figures, pixel by pixel, and small test sets made by hand."""

import numpy as np

from crack_utils.scoring import SEG_THRESHOLDS, Measured

LINE = np.zeros((40, 60), bool)
LINE[10, 5:55] = True  # fifty pixels
BESIDE = np.roll(LINE, 1, axis=0)  # the same a pixel lower
FAR = np.roll(LINE, 20, axis=0)
NOTHING = np.zeros_like(LINE)


def measured(*images, decision=0.9, photos="abcdefghijkl"):
    """A test set of (predicted, truth) masks, probabilities 0.9 on prediction and 0.2 off it; one photo an image."""
    test = Measured(SEG_THRESHOLDS)
    abouts = [
        {"stem": f"s{i}", "photo": photos[i], "decision_prob": decision if predicted.any() else 0.1}
        for i, (predicted, _) in enumerate(images)
    ]
    test.add_all(
        (about, np.where(predicted, np.float32(0.9), np.float32(0.2)), truth, 0.5)
        for about, (predicted, truth) in zip(abouts, images, strict=True)
    )
    return test


def naive_counts(prob, mask, threshold, arm=2):
    """The definition, pixel by pixel."""
    height, width = mask.shape
    tp = fp = fn = 0
    for y in range(height):
        for x in range(width):
            predicted = float(prob[y, x]) > threshold
            near = any(
                0 <= y + dy < height and 0 <= x + dx < width and mask[y + dy, x + dx]
                for step in range(-arm, arm + 1)
                for dy, dx in ((step, 0), (0, step))
            )
            tp += near and predicted
            fp += not near and predicted
            fn += bool(mask[y, x]) and not predicted
    return tp, fp, fn


def naive_decision(has_crack, probs):
    """F1-best threshold (lowest of equals) and average precision, by trying every score."""
    best, area, recall_before = (-1.0, None), 0.0, 0.0
    for threshold in sorted(set(probs.tolist()), reverse=True):
        decided = probs >= threshold
        tp = (decided & has_crack).sum()
        precision, recall = tp / decided.sum(), tp / has_crack.sum()
        area += precision * (recall - recall_before)
        recall_before = recall
        f1 = 2 * tp / (decided.sum() + has_crack.sum())
        if f1 >= best[0] - 1e-12:
            best = (f1, threshold)
    return best[1], area


def large(images=2, seed=0):
    rng = np.random.default_rng(seed)
    probs = rng.random((images, 200, 300)).astype(np.float32)  # more pixels than are looked up at a time
    return probs, rng.random(probs.shape) < 0.03
