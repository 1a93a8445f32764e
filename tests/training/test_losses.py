import dataclasses
import math

import pytest
import torch
from conftest import PUBLISHED, TINY, small_params
from tiny_training import tiny_run, watch_steps

from crack_utils.config import parse_parameters
from crack_utils.training import Term, Watcher, decision_loss, loss_weights, segmentation_loss, train_run


def test_segmentation_loss_is_the_mean_over_valid_pixels():
    logits = torch.zeros(2, 1, 2, 2)
    logits[0, 0, 0, 0] = 50.0  # a sure crack pixel where there is none,
    mask, valid = torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2)
    assert segmentation_loss(logits, mask, valid)[0] == pytest.approx((50 + 3 * math.log(2)) / 4, rel=1e-5)
    valid[0, 0, 0, 0] = 0  # which counts nothing on padding
    torch.testing.assert_close(segmentation_loss(logits, mask, valid), torch.full((2,), math.log(2)))


def test_decision_loss_is_one_value_an_image():
    losses = decision_loss(torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0], [0.0]]))
    torch.testing.assert_close(losses, torch.tensor([math.log(2), math.log(1 + math.exp(2))]))


def test_the_balance_moves_from_segmentation_to_decision():
    balanced = parse_parameters({"epochs": 100, "delta_cls_loss": 0.01})
    assert loss_weights(balanced, 0) == (1, 0)
    assert loss_weights(balanced, 50) == pytest.approx((0.5, 0.005))
    assert loss_weights(balanced, 99) == pytest.approx((0.01, 0.0099))
    assert loss_weights(dataclasses.replace(balanced, dynamically_balanced_loss=False), 50) == (1, 0.01)
    assert loss_weights(dataclasses.replace(balanced, decision_loss=False), 50) == (1, 0)


def test_weights_multiply_the_pixels_losses_before_the_mean():
    logits, mask, valid = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    weight = torch.tensor([[[[1.0, 1.0], [1.0, 5.0]]]])
    assert segmentation_loss(logits, mask, valid, weight).item() == pytest.approx(8 * math.log(2) / 4, rel=1e-6)
    torch.testing.assert_close(segmentation_loss(logits, mask, valid, valid), segmentation_loss(logits, mask, valid))


def test_a_positive_weight_multiplies_the_loss_of_crack_alone():
    logits, mask, valid = torch.zeros(1, 1, 1, 2), torch.tensor([[[[1.0, 0.0]]]]), torch.ones(1, 1, 1, 2)
    weighted = segmentation_loss(logits, mask, valid, pos_weight=torch.tensor(9.0))
    assert weighted.item() == pytest.approx((9 + 1) * math.log(2) / 2, rel=1e-6)
    decided = decision_loss(torch.zeros(2, 1), torch.tensor([[1.0], [0.0]]), torch.tensor(0.5))
    torch.testing.assert_close(decided, torch.tensor([0.5, 1.0]) * math.log(2))


# --- a term is one entry


def dice_loss(seg_logits, mask, valid):
    probs = seg_logits.sigmoid() * valid
    return 1 - 2 * (probs * mask).sum((1, 2, 3)) / (probs + mask).sum((1, 2, 3)).clamp(min=1)


DICE = Term(
    lambda outputs, batch, positive: dice_loss(outputs.seg_logits, batch.mask, batch.valid),
    lambda params, epoch: (epoch + 1) * params.delta_cls_loss,
)


def test_an_entry_adds_a_term_to_the_loss_the_history_and_the_log(home, small_data):
    steps, parts = watch_steps(parts=dataclasses.replace(TINY, terms={**PUBLISHED, "dice": DICE}))
    run = tiny_run(small_data, parts, epochs=2, delta_cls_loss=0.2)
    assert {weights for _, weights, _ in steps[:5]} == {(1.0, 0.0, 0.2)}
    assert {weights for _, weights, _ in steps[5:]} == {(0.5, 0.1, 0.4)}
    history = run.history.load()
    assert list(history)[:7] == ["epoch", "loss", "loss_segmentation", "loss_decision", "loss_dice", "learning_rate", "time_s"]
    first, second = history.to_dict("records")
    assert first["loss"] == pytest.approx(first["loss_segmentation"] + 0.2 * first["loss_dice"])
    parts_of_the_second = 0.5 * second["loss_segmentation"] + 0.1 * second["loss_decision"] + 0.4 * second["loss_dice"]
    assert second["loss"] == pytest.approx(parts_of_the_second)
    lines = [line for line in run.log.load().splitlines() if line.startswith("Epoch ")]
    for line, row in zip(lines, (first, second), strict=True):
        terms = f"segmentation {row['loss_segmentation']:.5f} | decision {row['loss_decision']:.5f} | dice {row['loss_dice']:.5f}"
        assert f"| loss {row['loss']:.5f} | {terms} |" in line


def test_the_gradient_of_a_new_term_reaches_the_network(home, small_data):
    """With the weights of all other terms at 0, the steps are those of the new term alone."""
    alone = {name: term._replace(weight=lambda params, epoch: 0.0) for name, term in PUBLISHED.items()} | {"dice": DICE}
    run = tiny_run(small_data, dataclasses.replace(TINY, terms=alone), epochs=6, optimizer="sgd", learning_rate=1.0, delta_cls_loss=1.0)
    losses = run.history.load()["loss_dice"]
    assert losses.iloc[-1] < losses.iloc[0]


def test_a_training_with_another_term_goes_on_after_a_stop(home, small_data):
    class Stop(Watcher):
        def should_stop(self):
            return True

    parts = dataclasses.replace(TINY, terms={**PUBLISHED, "dice": DICE})
    params = small_params(small_data, epochs=2, hard_negative_mining=0.5)
    whole = train_run(params, "whole", parts=parts)
    train_run(params, "stopped", watcher=Stop(), parts=parts)
    stopped = train_run(params, "stopped", parts=parts)
    assert stopped.model.path.read_bytes() == whole.model.path.read_bytes()
    assert stopped.history.load().drop(columns="time_s").equals(whole.history.load().drop(columns="time_s"))


def test_the_two_published_terms_have_the_columns_of_earlier_versions(home, small_data):
    run = tiny_run(small_data, epochs=1)
    header = (
        "epoch,loss,loss_segmentation,loss_decision,learning_rate,time_s,val_precision,val_recall,val_f1,val_seg_threshold,val_decision_ap"
    )
    assert run.history.path.read_text().splitlines()[0] == header


def test_a_term_without_a_weight_is_neither_computed_nor_shown(home, small_data):
    def fails(outputs, batch, positive):
        pytest.fail("the term was computed")

    parts = dataclasses.replace(TINY, terms=PUBLISHED | {"more": Term(fails, lambda params, epoch: 0.0)})
    assert "loss_more" not in tiny_run(small_data, parts, decision_loss=False).history.load()
    late = Term(PUBLISHED["segmentation"].loss, lambda params, epoch: float(epoch))
    assert "loss_more" in tiny_run(small_data, dataclasses.replace(TINY, terms=PUBLISHED | {"more": late})).history.load()
