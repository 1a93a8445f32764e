import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scoring_by_hand import large

from crack_utils.errors import UserError
from crack_utils.scoring import SEG_THRESHOLDS, check_finite, choose_threshold, judge, pick_examples, tolerance_counts


def test_a_split_of_several_blocks_is_judged_as_a_whole():
    probs, masks = large(70)
    probs, masks = probs[:, :20, :30], masks[:, :20, :30]
    masks[5] = False
    kinds = (torch.from_numpy(prob) if i % 2 else prob for i, prob in enumerate(probs))
    judged = judge((SimpleNamespace(mask=mask), prob, 0.25) for mask, prob in zip(masks, kinds, strict=True))
    np.testing.assert_array_equal([judged.tp, judged.fp, judged.fn], tolerance_counts(probs, masks, SEG_THRESHOLDS))
    assert judged.has_crack.tolist() == [i != 5 for i in range(70)]
    assert judged.decision_probs.tolist() == [0.25] * 70
    best = choose_threshold(judged)
    assert judged.curves["f1"].idxmax() == SEG_THRESHOLDS[best]
    assert judged.curves.iloc[best].to_dict() == pytest.approx(judged.segmentation(best))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_predictions_that_are_not_numbers_are_refused(value, kind):
    prob = np.full((3, 4), 0.5, np.float32)
    check_finite(kind(prob))
    prob[1, 2] = value
    with pytest.raises(UserError, match="predictions are not numbers; train it again with a lower learning_rate"):
        judge([(SimpleNamespace(mask=prob > 1), kind(prob), 0.5)])


@pytest.mark.parametrize("cracked", [1, 2, 4, 40])
def test_there_are_examples_of_each_kind_however_few_the_images(cracked):
    frame = pd.DataFrame({"stem": [f"s{i}" for i in range(cracked)], "has_crack": True, "decision_prob": 0.5, "f1": range(cracked)})
    kinds = pick_examples(frame)
    assert set(kinds.kind) == {"worst", "median", "best"}
    assert kinds[kinds.kind == "worst"].stem.iloc[0] == "s0"
    assert kinds[kinds.kind == "best"].stem.iloc[0] == f"s{cracked - 1}"


def test_arrays_are_scored_without_torch():
    code = """
import sys, types
import numpy as np
from crack_utils import metrics, scoring
everything = [getattr(scoring, name) for name in scoring.__all__]
probs, masks = np.full((5, 9, 9), 0.5, np.float32), np.eye(9, dtype=bool)[None].repeat(5, axis=0)
metrics.tolerance_counts(probs, masks, [0.3, 0.6])
scoring.judge((types.SimpleNamespace(mask=mask), prob, 0.5) for prob, mask in zip(probs, masks))
test = scoring.Measured(scoring.SEG_THRESHOLDS)
test.add_all(({"stem": "s", "photo": "p", "decision_prob": 0.5}, prob, mask, 0.3) for prob, mask in zip(probs, masks))
scoring.protocol_figures(test)
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
