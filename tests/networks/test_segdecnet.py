import pytest
import torch
from torch import nn
from torch.nn import functional as F

from crack_utils.networks import SegDecNet, SegDecNetJim, SegDecNetPlusPlus, count_parameters
from crack_utils.networks.segdecnet import FeatureNorm, SkipGate
from crack_utils.training import decision_loss

FAMILY = [SegDecNet, SegDecNetPlusPlus, SegDecNetJim]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return SegDecNet()


def test_the_network_has_the_published_number_of_parameters(model):
    assert count_parameters(model) == 16_151_836
    assert sum(p.numel() for p in model.v4.parameters()) == 64 * 1024 * 15 * 15 + 2 * 1024


def test_every_stage_has_the_published_shape(model):
    shapes = {}
    stages = ("v1", "v2", "v3", "v4", "up3", "up2", "up1", "seg_head", "decision_features", "decision_head")
    hooks = [
        getattr(model, name).register_forward_hook(lambda _, __, output, name=name: shapes.update({name: tuple(output.shape)}))
        for name in stages
    ]
    upsampled = model.up3.upsample.register_forward_hook(lambda _, __, output: shapes.update(upsampled=tuple(output.shape)))
    decision_logits, seg_logits = model(torch.rand(2, 3, 64, 128))
    for hook in (*hooks, upsampled):
        hook.remove()
    assert shapes == {
        "v1": (2, 32, 64, 128),
        "v2": (2, 64, 32, 64),
        "v3": (2, 64, 16, 32),
        "v4": (2, 1024, 8, 16),
        "upsampled": (2, 16, 19, 35),
        "up3": (2, 16, 16, 32),
        "up2": (2, 16, 32, 64),
        "up1": (2, 8, 64, 128),
        "seg_head": (2, 1, 64, 128),
        "decision_features": (2, 32, 1, 2),
        "decision_head": (2, 1),
    }
    assert decision_logits.shape == (2, 1)
    assert seg_logits.shape == (2, 1, 64, 128)


def test_convolutions_come_in_network_order(model):
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]
    channels = [(m.in_channels, m.out_channels, m.kernel_size[0]) if not isinstance(m, nn.Linear) else (66, 1, 0) for m in layers]
    encoder = [(3, 32, 5), (32, 64, 5), *[(64, 64, 5)] * 6, (64, 1024, 15)]
    up3, up2 = [(1024, 16, 5), (80, 16, 5)], [(16, 16, 5), (80, 16, 5), *[(16, 16, 5)] * 3]
    up1 = [(16, 8, 5), (40, 8, 5), (8, 8, 5), (8, 8, 5)]
    assert channels == [*encoder, *up3, *up2, *up1, (8, 1, 5), (1025, 8, 5), (8, 16, 5), (16, 32, 5), (66, 1, 0)]
    assert all((m.bias is None) == (not isinstance(m, nn.ConvTranspose2d | nn.Linear)) for m in layers)


def test_feature_norm_has_the_deviation_under_the_root():
    norm = FeatureNorm(2)
    nn.init.constant_(norm.scale, 3.0)
    nn.init.constant_(norm.bias, 0.5)
    x = torch.randn(2, 2, 4, 5, dtype=torch.float64) * 2 + 1
    one = x[1, 0]
    deviation = ((one - one.mean()) ** 2).sum().div(one.numel() - 1).sqrt()
    expected = 3 * (one - one.mean()) / (deviation + 0.001).sqrt() + 0.5
    torch.testing.assert_close(norm.double()(x)[1, 0], expected)


def norm(x, scale, bias=0):
    std = x.std((2, 3), keepdim=True)  # unbiased
    return (x - x.mean((2, 3), keepdim=True)) / (std + 0.001).sqrt() * scale + bias


def test_the_forward_pass_is_the_published_one_step_by_step():
    """The network once more as plain functions, over the same weights, norms included."""
    torch.manual_seed(1)
    model = SegDecNet().double()
    for module in model.modules():
        if isinstance(module, FeatureNorm):
            nn.init.uniform_(module.scale, 0.5, 1.5)
            if module.bias is not None:
                nn.init.uniform_(module.bias, -0.5, 0.5)
    image = torch.rand(2, 3, 64, 128, dtype=torch.float64)
    convs = iter([m for m in model.modules() if isinstance(m, nn.Conv2d)])
    ups = iter([m for m in model.modules() if isinstance(m, nn.ConvTranspose2d)])
    norms = iter([m for m in model.modules() if isinstance(m, FeatureNorm)])

    def block(x):
        conv, scaled = next(convs), next(norms)
        x = F.conv2d(x, conv.weight, padding=conv.weight.shape[-1] // 2)
        return norm(x, scaled.scale, scaled.bias).clamp(min=0)

    def up(x, skip, blocks):
        layer = next(ups)
        height, width = skip.shape[2:]
        x = F.conv_transpose2d(x, layer.weight, layer.bias, stride=2)[:, :, 2 : 2 + height, 2 : 2 + width]
        x = torch.cat([skip, x], 1)
        for _ in range(blocks):
            x = block(x)
        return x

    def blocks(x, count):
        for _ in range(count):
            x = block(x)
        return x

    v1 = block(image)
    v2 = blocks(F.max_pool2d(v1, 2), 3)
    v3 = blocks(F.max_pool2d(v2, 2), 4)
    v4 = block(F.max_pool2d(v3, 2))
    x = up(up(up(v4, v3, 1), v2, 4), v1, 3)
    seg_logits = norm(F.conv2d(x, next(convs).weight, padding=2), next(norms).scale)
    small = seg_logits.reshape(2, 1, 8, 8, 16, 8).mean((3, 5))
    x = torch.cat([v4, small], 1)
    for _ in range(3):
        x = block(F.max_pool2d(x, 2))
    pooled = torch.cat([x.amax((2, 3)), x.mean((2, 3)), seg_logits.amax((2, 3)), seg_logits.mean((2, 3))], 1)
    decision_logits = pooled @ model.decision_head.weight.T + model.decision_head.bias
    found_decision, found_seg = model(image)
    torch.testing.assert_close(found_seg, seg_logits)
    torch.testing.assert_close(found_decision, decision_logits)


@pytest.mark.parametrize("network", FAMILY)
def test_weights_start_xavier_normal_and_norms_as_they_are(network):
    torch.manual_seed(0)
    model = network()
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            outputs, inputs, height, width = module.weight.shape
            expected = (2 / ((inputs + outputs) * height * width)) ** 0.5
            count = module.weight.numel()
            assert module.weight.std().item() == pytest.approx(expected, rel=5 / count**0.5), name
            kurtosis = ((module.weight / module.weight.std()) ** 4).mean().item()
            assert count < 2000 or kurtosis == pytest.approx(3, abs=0.6), name  # 1.8 if drawn evenly
        if isinstance(module, FeatureNorm):
            assert (module.scale == 1).all() and (module.bias is None or (module.bias == 0).all())


@pytest.mark.parametrize("size", [(64, 128), (128, 64), (72, 136), (64, 192)])
@pytest.mark.parametrize("network", FAMILY)
def test_any_allowed_size_comes_out_as_it_went_in(network, size):
    model = network()
    with torch.inference_mode():
        decision_logits, seg_logits = model(torch.rand(1, 3, *size))
    assert (decision_logits.shape, seg_logits.shape) == ((1, 1), (1, 1, *size))
    assert torch.isfinite(decision_logits).all() and torch.isfinite(seg_logits).all()


def test_the_segmentation_head_cannot_learn_an_offset(model):
    assert model.seg_head[1].bias is None
    assert model(torch.rand(1, 3, 64, 128))[1].mean().abs() < 1e-4


def test_the_decision_sees_maxima_before_means_and_features_before_logits(model):
    seen = {}
    hooks = [
        model.decision_features.register_forward_hook(lambda _, __, output: seen.update(features=output)),
        model.decision_head.register_forward_pre_hook(lambda _, inputs: seen.update(pooled=inputs[0])),
    ]
    _, seg_logits = model(torch.rand(1, 3, 64, 128))
    for hook in hooks:
        hook.remove()
    features = seen["features"]
    expected = [features.amax((2, 3)), features.mean((2, 3)), seg_logits.amax((2, 3)), seg_logits.mean((2, 3))]
    torch.testing.assert_close(seen["pooled"], torch.cat(expected, dim=1))


@pytest.mark.parametrize("adjusted", [True, False])
@pytest.mark.parametrize("network", FAMILY)
def test_decision_gradient_reaches_the_encoder_only_without_the_adjustment(network, adjusted):
    torch.manual_seed(0)
    model = network(gradient_flow_adjustment=adjusted)
    decision_logits, _ = model(torch.rand(1, 3, 64, 128))
    decision_loss(decision_logits, torch.ones(1, 1)).sum().backward()
    for name, part in model.named_children():
        reached = any(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters())
        assert reached is (name.startswith("decision") or not adjusted), name


def test_grey_images_have_one_channel():
    assert SegDecNet(in_channels=1)(torch.rand(1, 1, 64, 128))[1].shape == (1, 1, 64, 128)


def test_the_plus_plus_network_opens_a_gate_of_its_own_for_each_skip():
    torch.manual_seed(0)
    model = SegDecNetPlusPlus()
    gates = [module for module in model.modules() if isinstance(module, SkipGate)]
    assert [gate.project.in_channels for gate in gates] == [64, 64, 32]  # v3, v2, v1
    assert count_parameters(model) == 16_151_836 + 2 * (64 * 64 + 2 * (64 * 64 + 64)) + 32 * 32 + 2 * (32 * 32 + 32)
    skip = torch.randn(2, 64, 6, 5)
    gate = gates[0]
    mean = skip.mean((2, 3))
    first, second = gate.gate[1], gate.gate[3]
    hidden = mean @ first.weight[:, :, 0, 0].T + first.bias
    opened = torch.sigmoid((hidden * torch.sigmoid(hidden)) @ second.weight[:, :, 0, 0].T + second.bias)
    projected = torch.einsum("oc,nchw->nohw", gate.project.weight[:, :, 0, 0], skip)
    torch.testing.assert_close(gate(skip), projected * opened[:, :, None, None])


def test_the_network_without_decoder_segments_in_blocks_of_eight_and_decides_by_its_own_logits():
    torch.manual_seed(0)
    model = SegDecNetJim()
    seen = {}
    model.seg_head.register_forward_hook(lambda _, __, output: seen.update(own=output))
    model.decision_features.register_forward_pre_hook(lambda _, inputs: seen.update(joined=inputs[0]))
    _, seg_logits = model(torch.rand(1, 3, 64, 128))
    assert seen["own"].shape == (1, 1, 8, 16)
    assert torch.equal(seg_logits, seen["own"].repeat_interleave(8, 2).repeat_interleave(8, 3))
    torch.testing.assert_close(seen["joined"][:, 1024:], seen["own"])
    assert not [name for name, _ in model.named_children() if name.startswith("up")]
