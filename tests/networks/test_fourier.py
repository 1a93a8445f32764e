"""Convolutions, maxima and FeatureNorm in their fast ways against the plain ones."""

import copy

import pytest
import torch
from torch.nn import functional as F

from crack_utils.networks import fourier
from crack_utils.networks.narrow import phases
from crack_utils.networks.norm import FeatureNorm
from crack_utils.networks.pool import MaxPool


@pytest.fixture
def everywhere(monkeypatch):
    """The frequency domain, also where the direct way takes less time."""
    monkeypatch.setattr(fourier, "PAYS", 0)
    fourier.plan.cache_clear()
    yield
    fourier.plan.cache_clear()


def drawn(channels, outputs, kernel, size, n=2):
    torch.manual_seed(0)
    return fourier.Conv2d(channels, outputs, kernel), torch.randn(n, channels, *size, requires_grad=True)


def close(values, expected):
    """Equal up to rounding, by the largest value."""
    torch.testing.assert_close(values, expected, rtol=0, atol=5e-6 * float(expected.abs().max()))


@pytest.mark.parametrize(
    ("channels", "outputs", "kernel", "size"),
    [
        (3, 40, 15, (45, 80)),
        (4, 6, 5, (20, 33)),
        (2, 3, 5, (11, 9)),
        (2, 17, 15, (12, 20)),
        (1, 1, 15, (8, 16)),
        (2, 3, 3, (70, 2)),
        (2, 2, 5, (15, 30)),
    ],
)
def test_outputs_and_gradients_are_those_of_the_direct_way(everywhere, channels, outputs, kernel, size):
    conv, x = drawn(channels, outputs, kernel, size)
    y, expected = conv(x), F.conv2d(x, conv.weight, padding=kernel // 2)
    assert "_Convolution" in str(y.grad_fn)
    close(y, expected)
    grad = torch.randn_like(expected)
    for value, other in zip(*(torch.autograd.grad(each, (x, conv.weight), grad) for each in (y, expected)), strict=True):
        close(value, other)
    with torch.inference_mode():
        close(conv(x), expected)


@pytest.mark.parametrize(
    ("channels", "outputs", "size"), [(5, 8, (12, 20)), (3, 1, (7, 16)), (4, 3, (9, 20)), (2, 8, (6, 7)), (2, 16, (8, 8))]
)
def test_few_channels_have_the_outputs_and_gradients_of_the_direct_way(channels, outputs, size):
    conv, x = drawn(channels, outputs, 5, size)
    y, expected = conv(x), F.conv2d(x, conv.weight, padding=2)
    assert ("Narrow" in str(y.grad_fn)) == (phases(outputs, 5, size[1]) > 1)
    torch.testing.assert_close(y, expected)
    grad = torch.randn_like(expected)
    for value, other in zip(*(torch.autograd.grad(each, (x, conv.weight), grad) for each in (y, expected)), strict=True):
        close(value, other)
    (alone,) = torch.autograd.grad(conv(x.detach()).sum(), conv.weight)
    assert alone.shape == conv.weight.shape


def test_columns_are_computed_at_once_where_vectors_have_room():
    assert phases(1, 5, 640) == 8
    assert phases(1, 5, 36) == 1  # the width is not divisible
    assert phases(1, 1, 640) == 1
    assert phases(16, 5, 640) == 1


def test_maxima_without_gradients_are_those_of_pytorch():
    x = torch.randn(2, 3, 7, 10)
    x[0, 0, 2, 2] = torch.nan
    with torch.inference_mode():
        torch.testing.assert_close(MaxPool()(x), F.max_pool2d(x, 2), rtol=0, atol=0, equal_nan=True)
    x.requires_grad_()
    torch.testing.assert_close(*(torch.autograd.grad(pool(x).nansum(), x)[0] for pool in (MaxPool(), torch.nn.MaxPool2d(2))))


def test_other_types_take_the_direct_way(everywhere):
    conv, x = drawn(2, 3, 5, (20, 20))
    with torch.autocast("cpu", torch.bfloat16):
        assert conv(x).dtype == torch.bfloat16
    assert conv.double()(x.double()).dtype == torch.float64


def test_no_gradient_is_computed_that_nobody_needs(everywhere):
    conv, x = drawn(2, 3, 5, (20, 20))
    conv.weight.requires_grad = False
    (grad,) = torch.autograd.grad(conv(x).sum(), x)
    assert grad.shape == x.shape
    conv.weight.requires_grad = True
    conv(x.detach()).sum().backward()
    assert conv.weight.grad.shape == conv.weight.shape


def test_kept_spectra_are_those_of_the_present_weights(everywhere):
    conv, x = drawn(2, 3, 5, (20, 20))
    with torch.inference_mode():
        first = conv(x)
        close(conv(x), first)
    assert conv in fourier._kept
    conv(x)
    assert conv not in fourier._kept  # a training does not hold them
    other = copy.deepcopy(conv)
    with torch.no_grad():
        conv.weight.mul_(2)
        close(conv(x), 2 * first)
        conv.load_state_dict(other.state_dict())
        close(conv(x), first)
        close(conv(x[:1]), first[:1])
        close(conv(x[:, :, :16]), F.conv2d(x[:, :, :16], conv.weight, padding=2))


def test_groups_of_channels_and_large_batches_change_nothing(everywhere, monkeypatch):
    conv, x = drawn(2, 40, 5, (20, 20), n=5)
    whole = conv(x)
    monkeypatch.setattr(fourier, "GROUP", 1)
    close(conv(x), whole)


def test_the_published_network_takes_the_frequency_domain_where_it_pays():
    assert fourier.plan((45, 80), 15, (64, 1024), True).side == (29, 30)
    assert fourier.plan((12, 20), 15, (64, 1024), True) is None  # the kernel's transform would take longer than the convolution
    assert fourier.plan((12, 20), 15, (64, 1024), False)
    assert fourier.plan((360, 640), 5, (3, 32), True) is None
    conv, x = drawn(64, 1024, 15, (45, 80), n=1)
    assert "_Convolution" in str(conv(x).grad_fn)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_feature_norm_has_the_gradients_of_its_formula(relu, bias):
    torch.manual_seed(0)
    norm = FeatureNorm(3, bias, relu=relu).double()
    for parameter in norm.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    std, mean = torch.std_mean(x, (2, 3), keepdim=True)
    expected = norm.scale * (x - mean) / torch.sqrt(std + 0.001) + (norm.bias if bias else 0)
    expected = expected.relu() if relu else expected
    torch.testing.assert_close(norm(x), expected)
    inputs, grad = (x, *norm.parameters()), torch.randn_like(x)
    torch.testing.assert_close(*(torch.autograd.grad(each, inputs, grad) for each in (norm(x), expected)))


def test_a_constant_channel_has_gradients_that_are_numbers():
    norm = FeatureNorm(1)
    x = torch.ones(1, 1, 4, 4, requires_grad=True)
    norm(x).square().sum().backward()
    assert torch.isfinite(x.grad).all() and torch.isfinite(norm.scale.grad).all()
