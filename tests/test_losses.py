import math

import pytest
import torch

from crack_utils.losses import decision_loss, loss_weights, segmentation_loss


def test_segmentation_loss_is_the_mean_over_valid_pixels():
    logits = torch.zeros(2, 1, 2, 2)
    logits[0, 0, 0, 0] = 50.0  # a sure crack pixel where there is none ...
    mask, valid = torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2)
    assert segmentation_loss(logits, mask, valid)[0] == pytest.approx((50 + 3 * math.log(2)) / 4, rel=1e-5)
    valid[0, 0, 0, 0] = 0  # ... counts nothing on padding
    torch.testing.assert_close(segmentation_loss(logits, mask, valid), torch.full((2,), math.log(2)))


def test_decision_loss_is_one_value_an_image():
    losses = decision_loss(torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0], [0.0]]))
    torch.testing.assert_close(losses, torch.tensor([math.log(2), math.log(1 + math.exp(2))]))


def test_the_balance_moves_from_segmentation_to_decision():
    assert loss_weights(0, 100, 0.01, balanced=True) == (1, 0)
    assert loss_weights(50, 100, 0.01, balanced=True) == pytest.approx((0.5, 0.005))
    assert loss_weights(99, 100, 0.01, balanced=True) == pytest.approx((0.01, 0.0099))
    assert loss_weights(50, 100, 0.01, balanced=False) == (1, 0.01)
