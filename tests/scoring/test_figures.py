import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.spatial.distance import cdist
from scoring_by_hand import BESIDE, FAR, LINE, NOTHING, measured
from skimage.morphology import skeletonize

from crack_utils.reporting.evaluation_tables import overlap_table, protocols_table
from crack_utils.scoring import FIGURES, RADII_PX, SEG_THRESHOLDS, Figure, Measured, figures_markdown, measure, protocol_figures


def test_one_image_measured_by_hand():
    row = measure(np.where(BESIDE, np.float32(0.9), np.float32(0)), LINE, 0.5)
    assert (row["tp"], row["fp"], row["fn"]) == (50, 0, 50)  # the record: tolerance for what is predicted, none for what is missed
    assert (row["hit_0px"], row["found_0px"]) == (0, 0)
    assert (row["hit_2px"], row["found_2px"], row["predicted_px"], row["truth_px"], row["image_px"]) == (50, 50, 50, 50, 2400)
    assert row["hd95_px"] == 1
    assert row["cl_dice"] == 0
    assert row["length_px"] == row["true_length_px"] == 49
    assert row["width_mean_px"] == row["true_width_mean_px"] == 1
    assert row["density"] == 49 / 2400


def test_protocols_are_told_apart():
    figures = protocol_figures(measured((LINE, LINE), (BESIDE, LINE), (FAR, LINE), (NOTHING, LINE)))
    assert figures["record_2px_mean"] == pytest.approx({"precision": 2 / 4, "recall": (1 + 0.5) / 4, "f1": (1 + 2 / 3) / 4})
    assert figures["record_2px_pooled"]["precision"] == pytest.approx(100 / 150)
    assert figures["record_2px_pooled"]["recall"] == pytest.approx(100 / 250)  # TP 50 + 50, FN 0 + 50 + 50 + 50
    assert figures["disc_0px_mean"] == pytest.approx({"precision": 1 / 4, "recall": 1 / 4, "f1": 1 / 4})
    assert figures["disc_2px_mean"] == pytest.approx({"precision": 2 / 4, "recall": 2 / 4, "f1": 2 / 4})
    assert figures["disc_2px_pooled"] == pytest.approx({"precision": 100 / 150, "recall": 100 / 200, "f1": 4 / 7})
    assert figures["crack_iou_mean"] == 1 / 4
    assert figures["crack_iou_pooled"] == pytest.approx(50 / (50 + 100 + 150))
    rest = 4 * 2400 - 300
    assert figures["mean_iou_pooled"] == pytest.approx((1 / 6 + rest / (rest + 100 + 150)) / 2)
    assert figures["dice_pooled"] == pytest.approx(2 * 50 / (100 + 100 + 150))
    assert figures["hd95_mean_px"] == pytest.approx((0 + 1 + 20 + math.hypot(40, 60)) / 4)
    assert figures["cl_dice_mean"] == pytest.approx(1 / 4)
    assert figures["oracle"]["ods"] == pytest.approx(4 / 7)


NEAR_LINE = int((ndimage.distance_transform_edt(~LINE) <= 2).sum())


FLOOD = 2 * (NEAR_LINE / 2400) / (NEAR_LINE / 2400 + 1)  # F1 within 2 px of a prediction that covers the image


ALL = ("precision", "recall", "f1")


@pytest.mark.parametrize(
    ("predicted", "score", "hd95", "average_precision", "oracle", "ece"),
    [
        (LINE, 1, 0, 1, 1, (50 * 0.1 + 2350 * 0.2) / 2400),
        (FAR, 0, 20, 50 / 2400, FLOOD, (50 * 0.9 + 2350 * (0.2 - 50 / 2350)) / 2400),
        (NOTHING, 0, math.hypot(40, 60), 50 / 2400, FLOOD, 0.2 - 50 / 2400),
    ],
    ids=["perfect", "disjoint", "nothing predicted"],
)
def test_every_figure_at_its_limits_whatever_is_predicted_where_there_is_no_crack(predicted, score, hd95, average_precision, oracle, ece):
    figures = protocol_figures(measured((predicted, LINE), (NOTHING, NOTHING), (BESIDE, NOTHING)))
    for name in ("record_2px", "disc_0px", "disc_2px", "disc_5px"):
        for pooling in ("mean", "pooled"):
            assert figures[f"{name}_{pooling}"] == dict.fromkeys(ALL, score), name
    for name in ("crack_iou_mean", "crack_iou_pooled", "dice_mean", "dice_pooled", "cl_dice_mean"):
        assert figures[name] == score, name
    rest = (2400 - 50 - (predicted & ~LINE).sum()) / (2400 - 50 * score)
    assert figures["mean_iou_pooled"] == pytest.approx((score + rest) / 2)
    assert figures["hd95_mean_px"] == figures["hd95_median_px"] == pytest.approx(hd95)
    assert figures["average_precision_pooled"] == pytest.approx(average_precision)
    assert figures["oracle"]["ods"] == figures["oracle"]["ois"] == pytest.approx(oracle)
    assert figures["calibration"]["ece"] == pytest.approx(ece, abs=1e-3)
    with pytest.raises(ValueError, match="no cracked image, so the segmentation cannot be scored"):
        protocol_figures(measured((predicted, NOTHING)))


def disc_f1(predicted, truth, radius):
    """(hit, predicted, found, truth) by the distances to the nearest pixel of the other mask."""
    to_truth, to_predicted = (
        ndimage.distance_transform_edt(~mask) if mask.any() else np.full(mask.shape, np.inf) for mask in (truth, predicted)
    )
    return (predicted & (to_truth <= radius)).sum(), predicted.sum(), (truth & (to_predicted <= radius)).sum(), truth.sum()


def two_sided(hit, predicted, found, truth):
    precision, recall = hit / max(predicted, 1), found / truth
    return precision, recall, 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def outline(mask):
    return np.argwhere(mask & ~ndimage.binary_erosion(mask))


def test_every_figure_equals_an_independent_implementation_on_random_masks():
    from torchmetrics.functional import classification as library

    rng, images = np.random.default_rng(5), []
    for i in range(7):
        noise = ndimage.gaussian_filter(rng.random((30 + i, 50 - i)), 2)
        truth = noise > np.quantile(noise, 0.9)
        prob = (0.6 * (noise - noise.min()) / np.ptp(noise) + 0.4 * rng.random(noise.shape)).astype(np.float32)
        prob[0, :5] = 0.5  # on the threshold: not predicted
        images.append((prob, truth))
    test = Measured(SEG_THRESHOLDS)
    test.add_all(({"stem": f"s{i}", "photo": f"p{i}", "decision_prob": 0.9}, prob, truth, 0.5) for i, (prob, truth) in enumerate(images))
    figures, masks = protocol_figures(test), [(prob.astype(float) > 0.5, truth) for prob, truth in images]

    plus = np.zeros((5, 5), bool)
    plus[2] = plus[:, 2] = True
    counts = np.array(
        [((ndimage.binary_dilation(t, plus) & p).sum(), (p & ~ndimage.binary_dilation(t, plus)).sum(), (t & ~p).sum()) for p, t in masks]
    ).T
    record = np.array([counts[0] / (counts[0] + counts[1]), counts[0] / (counts[0] + counts[2])])
    assert figures["record_2px_mean"]["precision"] == pytest.approx(record[0].mean())
    assert figures["record_2px_mean"]["recall"] == pytest.approx(record[1].mean())
    assert figures["record_2px_mean"]["f1"] == pytest.approx((2 * record.prod(axis=0) / record.sum(axis=0)).mean())
    tp, fp, fn = counts.sum(axis=1)
    pooled = {"precision": tp / (tp + fp), "recall": tp / (tp + fn), "f1": 2 * tp / (2 * tp + fp + fn)}
    assert figures["record_2px_pooled"] == pytest.approx(pooled)
    for radius in RADII_PX:
        each = np.array([disc_f1(*pair, radius) for pair in masks])
        means = np.mean([two_sided(*row) for row in each], axis=0)
        assert list(figures[f"disc_{radius}px_mean"].values()) == pytest.approx(means.tolist())
        assert list(figures[f"disc_{radius}px_pooled"].values()) == pytest.approx(list(two_sided(*each.sum(axis=0))))

    def tensors(values):
        return torch.from_numpy(np.concatenate([value.ravel() for value in values]))

    predicted, truth, probs = tensors([p for p, _ in masks]), tensors([t for _, t in masks]).int(), tensors([p for p, _ in images])
    single = [(torch.from_numpy(p.ravel()).int(), torch.from_numpy(t.ravel()).int()) for p, t in masks]
    expected = {
        "crack_iou_mean": np.mean([library.binary_jaccard_index(*pair).item() for pair in single]),
        "crack_iou_pooled": library.binary_jaccard_index(predicted.int(), truth).item(),
        "mean_iou_pooled": library.multiclass_jaccard_index(predicted.int(), truth, num_classes=2).item(),
        "dice_mean": np.mean([library.binary_f1_score(*pair).item() for pair in single]),
        "dice_pooled": library.binary_f1_score(predicted.int(), truth).item(),
    }
    assert {name: figures[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    assert figures["average_precision_pooled"] == pytest.approx(library.binary_average_precision(probs, truth).item(), abs=2e-3)
    ece = library.binary_calibration_error(probs, truth, n_bins=16, norm="l1").item()
    assert figures["calibration"]["ece"] == pytest.approx(ece, abs=5e-4)
    distances = [cdist(outline(p), outline(t)) for p, t in masks]
    hd95 = [max(np.percentile(d.min(axis=0), 95), np.percentile(d.min(axis=1), 95)) for d in distances]
    assert figures["hd95_mean_px"] == pytest.approx(np.mean(hd95), abs=1e-4)
    assert figures["hd95_median_px"] == pytest.approx(np.median(hd95), abs=1e-4)
    lines = [(skeletonize(p), skeletonize(t)) for p, t in masks]
    shares = [((a & t).sum() / a.sum(), (b & p).sum() / b.sum()) for (a, b), (p, t) in zip(lines, masks, strict=True)]
    assert figures["cl_dice_mean"] == pytest.approx(np.mean([2 * a * b / (a + b) for a, b in shares]))

    swept = np.array([[disc_f1(prob.astype(float) > at, truth, 2) for at in SEG_THRESHOLDS[::20]] for prob, truth in images])
    some = Measured(SEG_THRESHOLDS[::20])
    some.add_all(({"stem": f"s{i}", "photo": "p", "decision_prob": 0.9}, prob, truth, 0.5) for i, (prob, truth) in enumerate(images))
    oracle = protocol_figures(some)["oracle"]
    assert oracle["ods"] == pytest.approx(max(two_sided(*row)[2] for row in swept.sum(axis=0)))
    assert oracle["ois"] == pytest.approx(np.mean([max(two_sided(*row)[2] for row in image) for image in swept]))


def test_a_blackened_image_is_empty_at_every_threshold():
    test = Measured(SEG_THRESHOLDS)
    about = {"stem": "s", "photo": "a", "decision_prob": 0.1}
    test.add_all([(about, np.where(LINE, np.float32(0.9), np.float32(0.2)), LINE, np.inf)])
    assert (test.curves["f1"] == 0).all()
    assert protocol_figures(test)["oracle"]["ods"] == 0


def overlap(protocols, figures):
    return overlap_table({"protocols": protocols}, figures).set_index("Figure")["On test"].to_dict()


def test_a_figure_is_one_entry_that_metrics_tables_and_docs_read():
    share = Figure("share_predicted", "share of pixels predicted", lambda rows, _: rows["predicted_px"].sum() / rows["image_px"].sum())
    count = Figure("one_image", "a way of counting", lambda rows, _: dict.fromkeys(ALL, len(rows)), table="protocols")
    figures = (*FIGURES, share, count)
    found = protocol_figures(measured((LINE, LINE), (NOTHING, LINE)), figures)
    assert list(found)[-2:] == ["share_predicted", "one_image"]
    assert found["share_predicted"] == 50 / 4800
    assert overlap(found, figures)["share of pixels predicted"] == 50 / 4800
    assert protocols_table({"protocols": found}, figures).to_numpy().tolist()[-1] == ["a way of counting", 2, 2, 2]
    assert figures_markdown(figures).endswith("\n| `share_predicted` | share of pixels predicted |\n| `one_image` | a way of counting |")


def test_every_figure_stands_in_metrics_in_a_table_and_in_the_docs():
    found = protocol_figures(measured((LINE, LINE), (BESIDE, LINE)))
    assert list(found) == [figure.key for figure in FIGURES]
    assert len({figure.key for figure in FIGURES}) == len({figure.title for figure in FIGURES}) == len(FIGURES)
    table, docs = overlap(found, FIGURES), figures_markdown()
    titles = [title for figure in FIGURES if figure.table != "protocols" for title in figure.parts.values() or [figure.title]]
    assert sorted(table) == sorted(titles)
    assert ["oracle" in title for title in table][-2:] == [True, True]  # the oracles stand last
    assert protocols_table({"protocols": found})["Protocol"].tolist() == [f.title for f in FIGURES if f.table == "protocols"]
    assert all(f"| `{figure.key}` | {figure.title} |" in docs for figure in FIGURES)
    assert "| `oracle.ods` | ODS (oracle: " in docs


def test_a_figure_that_an_older_run_lacks_has_no_row():
    found = protocol_figures(measured((LINE, LINE), (BESIDE, LINE)))
    whole = overlap(found, FIGURES)
    del found["dice_pooled"], found["calibration"], found["oracle"]["ois"], found["disc_5px_mean"]
    older = overlap(found, FIGURES)
    assert [title for title in whole if title not in older] == [
        "Dice, pooled",
        "expected calibration error of pixels, pooled (lower is better)",
        "OIS (oracle: mean F1, disc of 2 px, at each image's own best threshold)",
    ]
    assert {title: whole[title] for title in older} == older
    assert len(protocols_table({"protocols": found})) == 7
