"""fp32, tf32 and bf16; FeatureNorm under autocast; the ways of a convolution on a GPU, computed on this machine."""

import copy

import pytest
import torch
from torch.nn import functional as F

from crack_utils.networks import InPrecision, SegDecNet, computing, prediction_precision, resolve_precision
from crack_utils.networks.norm import FeatureNorm
from crack_utils.networks.routes import WAYS, candidates, choose, convolve, measure, padded, transposed

CPU = torch.device("cpu")


def test_auto_is_fp32_without_a_fast_gpu_and_a_name_stands_for_itself():
    assert [resolve_precision(name, CPU) for name in ("auto", "fp32", "tf32", "bf16")] == ["fp32", "fp32", "tf32", "bf16"]


def test_predictions_have_the_trainings_precision_but_no_cpu_is_slow_without_being_asked():
    assert prediction_precision("bf16", "bf16", CPU) == "bf16"
    assert prediction_precision("auto", "bf16", CPU) == "fp32"
    assert prediction_precision("auto", "tf32", torch.device("cuda")) == "tf32"
    assert prediction_precision("auto", "fp32", torch.device("cuda")) == "fp32"


def test_tf32_is_on_only_where_it_is_asked_for_and_is_as_before_afterwards():
    def switches():
        return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32

    before = switches()
    for precision, is_on in (("fp32", False), ("bf16", False), ("tf32", True)):
        with computing(CPU, precision=precision) as about:
            assert switches() == (is_on, is_on)
        assert about["precision"].startswith("bfloat16" if precision == "bf16" else "float32")
        assert "TF32" not in about["precision"]  # a CPU has none
    assert switches() == before


def test_bf16_computes_in_bfloat16_and_keeps_weights_gradients_and_logits_in_float32():
    torch.manual_seed(0)
    model, image, types = SegDecNet(), torch.rand(1, 3, 64, 128), []
    mask = (image.mean(1, keepdim=True) > 0.6).float()

    def loss(decision_logits, seg_logits):
        return decision_logits.sum() + F.binary_cross_entropy_with_logits(seg_logits, mask)

    model.v2[1][0].register_forward_hook(lambda module, inputs, output: types.append((inputs[0].dtype, output.dtype)))
    network = InPrecision(model, "bf16")
    decision_logits, seg_logits = network(image)
    assert types == [(torch.bfloat16, torch.bfloat16)]
    assert decision_logits.dtype == seg_logits.dtype == torch.float32
    loss(decision_logits, seg_logits).backward()
    grads = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert {grad.dtype for grad in grads.values()} == {torch.float32}
    model.zero_grad()
    expected = model(image)
    loss(*expected).backward()
    assert 0 < float((seg_logits - expected[1]).detach().abs().max()) < 0.1 * float(expected[1].detach().abs().max())
    for name, parameter in model.named_parameters():
        assert F.cosine_similarity(grads[name].flatten(), parameter.grad.flatten(), dim=0) > 0.6, name


def formula(x, norm):
    y = norm.scale * (x - x.mean((2, 3), keepdim=True)) / torch.sqrt(x.std((2, 3), keepdim=True) + norm.eps) + norm.bias
    return y.relu()


def test_feature_norm_has_float32_statistics_under_autocast():
    torch.manual_seed(0)
    norm = FeatureNorm(4, relu=True)
    x = (100 + torch.randn(2, 4, 16, 24)).bfloat16().requires_grad_()  # bf16 statistics of such values would be off by percents
    with torch.autocast("cpu", torch.bfloat16):
        y = norm(x)
    assert y.dtype == torch.bfloat16
    wide = x.detach().float().requires_grad_()
    expected = formula(wide, norm)
    torch.testing.assert_close(y.float(), expected, rtol=2**-8, atol=1e-6)
    grad = torch.randn_like(expected).bfloat16()
    (back,) = torch.autograd.grad(y, x, grad)
    (other,) = torch.autograd.grad(expected, wide, grad.float())
    assert back.dtype == torch.bfloat16
    torch.testing.assert_close(back.float(), other, rtol=2**-7, atol=1e-4)


@pytest.mark.parametrize("value", [0.0, 1 / 3, 1000.0])
def test_a_constant_channel_has_gradients_that_are_numbers_in_bf16(value):
    norm = FeatureNorm(2, relu=True)
    x = torch.full((1, 2, 8, 8), value).bfloat16()
    x[:, 1] += torch.arange(64).view(8, 8)
    x.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = norm(x)
    y.float().square().sum().backward()
    assert all(torch.isfinite(each).all() for each in (y, x.grad, norm.scale.grad, norm.bias.grad))
    assert x.grad[:, 1].abs().max() > 0


# --- the ways of a convolution


@pytest.mark.parametrize("way", [transposed, padded])
@pytest.mark.parametrize(
    ("channels", "outputs", "kernel", "size"), [(4, 6, 15, (12, 20)), (3, 17, 5, (9, 8)), (8, 1, 5, (6, 7)), (40, 8, 3, (5, 5))]
)
def test_a_way_has_the_output_and_gradients_of_the_convolution(way, channels, outputs, kernel, size):
    torch.manual_seed(0)
    x, weight = torch.randn(2, channels, *size, requires_grad=True), torch.randn(outputs, channels, kernel, kernel, requires_grad=True)
    y, expected = way(x, weight), F.conv2d(x, weight, padding=kernel // 2)
    grad = torch.randn_like(expected)
    pairs = zip((y, *torch.autograd.grad(y, (x, weight), grad)), (expected, *torch.autograd.grad(expected, (x, weight), grad)), strict=True)
    for value, other in pairs:
        assert value.shape == other.shape
        torch.testing.assert_close(value, other, rtol=0, atol=1e-5 * float(other.detach().abs().max()))


def test_a_way_computes_no_gradient_that_nobody_needs():
    x, weight = torch.randn(1, 2, 9, 9, requires_grad=True), torch.randn(3, 2, 9, 9)
    (grad,) = torch.autograd.grad(transposed(x, weight).sum(), x)
    assert grad.shape == x.shape


def test_the_way_with_the_smallest_median_is_chosen():
    assert choose({"conv2d": [0.004, 0.005, 0.9], "conv_transpose2d": [0.0004, 0.0005, 1.0]}).name == "conv_transpose2d"
    assert choose({"conv2d": [0.0004, 0.0003], "conv_transpose2d": [0.004, 0.005]}).name == "conv2d"
    assert choose({"conv2d": [0.002], "conv_transpose2d": [0.002]}).name == "conv2d"
    assert choose({"conv2d": [0.004]}).medians_ms == {"conv2d": 4}


@pytest.mark.parametrize(
    ("shape", "others"), [((1024, 64, 15, 15), [1]), ((8, 40, 5, 5), [2]), ((64, 64, 5, 5), []), ((8, 3, 15, 15), [1, 2])]
)
def test_ways_are_measured_where_they_may_pay(shape, others):
    names = list(WAYS)
    assert candidates(torch.empty(shape)) == [names[0], *(names[other] for other in others)]


@pytest.mark.parametrize("learns", [True, False])
def test_every_way_is_measured_on_the_actual_shapes_once_and_the_fastest_computes(learns):
    """The shapes of this test are those of no network, because the choices are kept."""
    seen, x, weight = [], torch.randn(1, 5, 11, 13), torch.randn(7, 5, 9, 9, requires_grad=learns)

    def timed(ways, x, weight, learns):
        seen.append((tuple(x.shape), x.dtype, learns))
        assert all(len(values) == 5 for values in measure(ways, x, weight, learns).values())
        return {name: [1.0 if name == "conv_transpose2d" else 2.0] for name in ways}

    with torch.autocast("cpu", torch.bfloat16):
        first, second = (convolve(x, weight, timed) for _ in range(2))
    assert seen == [((1, 5, 11, 13), torch.bfloat16, learns)]
    assert torch.equal(first, second)
    assert not learns or "_Transposed" in str(first.grad_fn)
    expected = F.conv2d(x, weight, padding=4)
    assert float((first - expected).detach().abs().max()) < 0.03 * float(expected.detach().abs().max())


def test_a_copied_network_computes_with_its_own_weights():
    """A step is timed on a copy of the network, which must leave the network as it is."""
    network = InPrecision(torch.nn.Conv2d(1, 1, 1), "bf16")
    assert copy.deepcopy(network).network.weight.data_ptr() != network.network.weight.data_ptr()
