import math

import numpy as np
import pytest
import torch

from crack_utils.data import crack_weights
from crack_utils.training import decision_loss, loss_weights, segmentation_loss


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


def test_crack_pixels_weigh_by_their_distance_to_the_edge_each_crack_by_its_own_widest():
    mask = np.zeros((9, 16), bool)
    mask[2:7, 2:7] = True  # five wide: distances 1, 2, 3, 2, 1 through the middle
    mask[4, 10:14] = True  # one wide: all at distance 1, its own maximum
    weight = crack_weights(mask, w_max=3, power=2)
    assert weight[4, 2:7] == pytest.approx([3 / 9, 3 * 4 / 9, 3, 3 * 4 / 9, 3 / 9])
    assert (weight[4, 10:14] == 3).all()
    assert (weight[~mask] == 1).all()
    diagonal = np.eye(8, dtype=bool)  # 8-connected: one crack, not eight
    assert (crack_weights(diagonal, 2, 1)[diagonal] == 2).all()
    for even in (np.zeros((4, 4), bool), np.ones((4, 4), bool)):
        assert (crack_weights(even, 3, 2) == 1).all()


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
