import numpy as np
import pytest

from crack_utils.data import crack_weights


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
