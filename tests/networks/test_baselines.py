import sys

import pytest
import torch
from conftest import small_params, write_dataset

from crack_utils.errors import ParameterError, UserError
from crack_utils.evaluation import evaluate_run
from crack_utils.networks import build_model
from crack_utils.networks.baselines import SegFormer, UNet
from crack_utils.store import Run
from crack_utils.training import Watcher, decision_loss, train_run

pytest.importorskip("segmentation_models_pytorch", reason="the extra 'baselines' is not installed")


@pytest.mark.parametrize(("network", "encoder", "channels"), [(UNet, "resnet18", 3), (UNet, "mobilenet_v2", 1), (SegFormer, "mit_b0", 3)])
def test_baselines_have_the_two_outputs_at_any_size(network, encoder, channels):
    model = network(encoder, channels).eval()
    for height, width in ((64, 128), (72, 136)):  # the latter no multiple of the encoder's stride
        decision_logits, seg_logits = model(torch.rand(2, channels, height, width))
        assert decision_logits.shape == (2, 1)
        assert seg_logits.shape == (2, 1, height, width)


@pytest.mark.parametrize("adjusted", [True, False])
def test_the_decisions_gradient_reaches_a_baseline_only_without_the_adjustment(adjusted):
    model = UNet("resnet18", gradient_flow_adjustment=adjusted)
    decision_loss(model(torch.rand(2, 3, 64, 128))[0], torch.ones(2, 1)).sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.network.parameters()) is not adjusted
    assert model.decision_head.weight.grad.abs().sum() > 0


def test_an_encoder_that_does_not_exist_is_refused_with_the_nearest():
    with pytest.raises(ParameterError, match=r"encoder: no 'resnet35'; try .*resnet34"):
        UNet("resnet35")


def test_without_the_library_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(ParameterError, match=r"pip install -e '\.\[baselines\]'"):
        UNet()


def test_pretrained_weights_that_cannot_be_fetched_give_one_message(monkeypatch):
    import segmentation_models_pytorch as smp

    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(smp.encoders, "get_preprocessing_params", offline)
    with pytest.raises(UserError, match=r"cannot fetch the ImageNet weights of resnet34 \(no route to host\); set pretrained to False"):
        UNet(pretrained=True)


def test_pretrained_encoders_see_images_as_they_were_trained_and_stored_weights_need_no_fetching(monkeypatch):
    import segmentation_models_pytorch as smp

    real, asked = smp.Unet, []
    statistics = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    monkeypatch.setattr(smp.encoders, "get_preprocessing_params", lambda _: statistics)
    monkeypatch.setattr(
        smp, "Unet", lambda *args, encoder_weights, **more: asked.append(encoder_weights) or real(*args, encoder_weights=None, **more)
    )
    params = small_params("x", architecture="unet", encoder="resnet18", pretrained=True)
    trained, stored = build_model(params), build_model(params, fresh=False)
    assert asked == ["imagenet", None]
    assert trained.mean.flatten().tolist() == pytest.approx(statistics["mean"])
    stored.load_state_dict(trained.state_dict())
    assert torch.equal(stored.mean, trained.mean)


def test_a_network_that_draws_at_random_goes_on_as_the_unbroken_training_would_have(home, tmp_path):
    params = small_params(write_dataset(tmp_path / "d"), architecture="segformer", encoder="mit_b0", validation_n_epochs=1, batch_size=2)
    whole = train_run(params, "whole")

    class Stop(Watcher):
        def on_epoch(self, training):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_run(params, "stopped", watcher=Stop())
    assert len(Run("stopped").history.load()) == 1
    resumed = train_run(params, "stopped")
    assert resumed.path("model.safetensors").read_bytes() == whole.path("model.safetensors").read_bytes()


def test_a_baseline_trains_and_is_evaluated_like_the_family(home, tmp_path):
    params = small_params(
        write_dataset(tmp_path / "d"), architecture="segformer", encoder="mit_b0", epochs=1, batch_size=2, optimizer="adamw"
    )
    run = train_run(params, "a")
    assert "segformer" in run.log.load()
    results = evaluate_run(run)
    assert 0 <= results["segmentation_2px"]["f1"] <= 1
