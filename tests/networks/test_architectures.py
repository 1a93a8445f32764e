import pytest
import torch
from conftest import small_params

from crack_utils.networks import build_model


@pytest.mark.parametrize("adjusted", [True, False])
@pytest.mark.parametrize(
    ("architecture", "encoder", "kind"),
    [
        ("segdecnet", None, "SegDecNet"),
        ("segdecnet++", None, "SegDecNetPlusPlus"),
        ("segdecnet-jim", None, "SegDecNetJim"),
        ("unet", "resnet18", "UNet"),
        ("segformer", "mit_b0", "SegFormer"),
    ],
)
def test_each_architecture_is_built_as_the_parameters_say(architecture, encoder, kind, adjusted):
    if encoder:
        pytest.importorskip("segmentation_models_pytorch", reason="the extra 'baselines' is not installed")
    values = {"architecture": architecture, "encoder": encoder, "input_channels": 1, "gradient_flow_adjustment": adjusted}
    model = build_model(small_params("x", **values))
    assert model.gradient_flow_adjustment is adjusted
    assert model.eval()(torch.rand(1, 1, 64, 128))[1].shape == (1, 1, 64, 128)
    assert type(model).__name__ == kind
    if encoder:
        assert type(model.network).__name__.lower() == architecture
        direct = type(model)(encoder, 1)
        sizes = [[p.shape for p in each.network.encoder.parameters()] for each in (model, direct)]
        assert sizes[0] == sizes[1]
