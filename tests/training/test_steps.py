"""One training step, and the weights that a step is given."""

import copy

import pytest
import torch
from conftest import PUBLISHED, TINY, TinyNet, small_params
from safetensors.torch import load_file
from tiny_training import tiny_run, watch_steps

from crack_utils.data import Batch, find_data
from crack_utils.networks import SegDecNet
from crack_utils.store import Run
from crack_utils.training import train_step
from crack_utils.training.losses import PositiveWeights


def test_batches_are_true_batches_with_mean_losses(small_data):
    torch.manual_seed(0)
    model = SegDecNet()
    image, mask = torch.rand(2, 3, 64, 128), (torch.rand(2, 1, 64, 128) < 0.1).float()
    batch = Batch(image, mask, torch.ones_like(mask), torch.ones_like(mask), torch.ones(2, 1), torch.arange(2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0)
    train_step(model, optimizer, batch, (1.0, 1.0), terms=PUBLISHED)
    together = [p.grad.clone() for p in model.parameters()]
    alone = []
    for i in (0, 1):
        ones = torch.ones(1, 1, 64, 128)
        one = Batch(image[i : i + 1], mask[i : i + 1], ones, ones, torch.ones(1, 1), torch.tensor([i]))
        train_step(model, optimizer, one, (1.0, 1.0), terms=PUBLISHED)
        alone.append([p.grad.clone() for p in model.parameters()])
    for both, first, second in zip(together, *alone, strict=True):
        torch.testing.assert_close(both, (first + second) / 2, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_learning_lowers_the_loss():
    torch.manual_seed(0)
    model = SegDecNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    image = torch.rand(1, 3, 64, 128)
    mask = torch.zeros(1, 1, 64, 128)
    mask[..., 30:34, 20:100] = 1
    image[mask.expand_as(image) > 0] = 0
    batch = Batch(image, mask, torch.ones_like(mask), torch.ones_like(mask), torch.ones(1, 1), torch.zeros(1, dtype=torch.long))
    losses = [train_step(model, optimizer, batch, (1.0, 0.01), terms=PUBLISHED)[0][0].item() for _ in range(12)]
    assert losses[-1] < 0.9 * losses[0]


def test_one_step_follows_the_gradient_of_the_losses_as_they_are_written(small_data):
    """Plain gradient descent of rate 1 against the formulas, with every weight there is."""
    torch.manual_seed(0)
    model = TinyNet(small_params(small_data)).double()
    image, mask = torch.rand(2, 3, 8, 9, dtype=torch.float64), (torch.rand(2, 1, 8, 9) < 0.4).double()
    valid, weight = (torch.rand(2, 1, 8, 9) < 0.8).double(), 1 + torch.rand(2, 1, 8, 9, dtype=torch.float64)
    label = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    crack, cracked = torch.tensor(3.0).double(), torch.tensor(0.25).double()
    expected = copy.deepcopy(model)
    decision, seg = expected(image)
    log = torch.nn.functional.logsigmoid
    pixels = -(crack * mask * log(seg) + (1 - mask) * log(-seg)) * weight * valid
    images = -(cracked * label * log(decision) + (1 - label) * log(-decision))
    loss = 0.7 * (pixels.sum((1, 2, 3)) / valid.sum((1, 2, 3))).mean() + 0.2 * images.mean()
    loss.backward()
    batch = Batch(image, mask, valid, weight, label, torch.arange(2))
    train_step(model, torch.optim.SGD(model.parameters(), lr=1), batch, (0.7, 0.2), PositiveWeights(crack, cracked), PUBLISHED)
    for after, start in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(after, start - start.grad)


def test_errors_count_false_alarms_twice_and_no_padding():
    class Fixed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.logits = torch.nn.Parameter(torch.tensor([[[[1.0, 1.0, -1.0, -1.0, 1.0, -1.0]]]]))

        def forward(self, image):
            return self.logits[..., :1, 0, 0], self.logits

    model = Fixed()
    mask = torch.tensor([[[[1.0, 0.0, 1.0, 0.0, 0.0, 1.0]]]])  # hit, false alarm, miss, right, then padding
    valid = torch.tensor([[[[1.0, 1.0, 1.0, 1.0, 0.0, 0.0]]]])
    batch = Batch(torch.zeros(1, 3, 1, 6), mask, valid, torch.ones_like(mask), torch.ones(1, 1), torch.tensor([0]))
    errors = train_step(model, torch.optim.SGD(model.parameters(), 0.0), batch, (1.0, 0.0), terms=PUBLISHED)[1]
    assert errors.tolist() == [2 * 1 + 1]


def test_without_the_decision_loss_the_decision_stays_as_it_was(home, small_data):
    steps, parts = watch_steps()
    torch.manual_seed(0)
    before = TINY.build_model(small_params(small_data)).state_dict()
    for trained in (True, False):
        after = load_file(tiny_run(small_data, parts, decision_loss=trained).model.path)
        assert torch.equal(after["decision_head.weight"], before["decision_head.weight"]) is not trained
        assert not torch.equal(after["seg.weight"], before["seg.weight"])
    assert steps[-1][1] == (1.0, 0.0)
    assert "The decision was not trained" in Run("tiny").log.load()


def test_balancing_off_keeps_the_weights_of_both_losses(home, small_data):
    steps, parts = watch_steps()
    tiny_run(small_data, parts, epochs=2, dynamically_balanced_loss=False, delta_cls_loss=0.3)
    assert {weights for _, weights, _ in steps} == {(1.0, 0.3)}
    steps.clear()
    tiny_run(small_data, parts, epochs=2, delta_cls_loss=0.3)
    assert {weights for _, weights, _ in steps} == {(1.0, 0.0), (0.5, 0.15)}


def test_positive_weights_are_the_ratios_of_train(home, small_data):
    steps, parts = watch_steps()
    tiny_run(small_data, parts, epochs=1)
    assert steps[0][2] == (None, None)
    tiny_run(small_data, parts, epochs=1, positive_weights=True)
    data = find_data(small_params(small_data), home)
    masks = [crop.mask for crop in data.split("train").crops]
    crack, pixels = sum(mask.sum() for mask in masks), sum(mask.size for mask in masks)
    segmentation, decision = steps[-1][2]
    assert segmentation.item() == pytest.approx((pixels - crack) / crack)
    assert decision.item() == pytest.approx(1 / 4)
    tiny_run(small_data, parts, epochs=1, positive_weights=True, use_negatives=False)
    assert steps[-1][2][1] is None
    assert "the decision's positive weight stays 1" in Run("tiny").log.load()
