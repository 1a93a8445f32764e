"""Modern baselines of segmentation_models_pytorch behind SegDecNet's two outputs. The library is an extra, imported when asked for."""

import difflib
from types import ModuleType

import torch
from torch import nn
from torch.nn import functional as F

from crack_utils.errors import ParameterError, UserError
from crack_utils.networks.segdecnet import pool

DEFAULT_ENCODERS = {"unet": "resnet34", "segformer": "mit_b1"}
STRIDE = 32  # of every encoder used here


class Baseline(nn.Module):
    """U-Net or SegFormer, with a linear decision on the deepest features and the logits, as SegDecNet decides.

    Args:
        architecture: unet or segformer.
        encoder: one of segmentation_models_pytorch's; None takes DEFAULT_ENCODERS'.
        in_channels: channels of the input image.
        pretrained: ImageNet weights for the encoder, fetched from the internet when first needed; else random ones.
        gradient_flow_adjustment: keep the decision loss from reaching the encoder and the segmentation path.

    Raises:
        ParameterError: no such encoder, or the library is not installed.
        UserError: the weights cannot be fetched.
    """

    def __init__(
        self,
        architecture: str,
        encoder: str | None = None,
        in_channels: int = 3,
        pretrained: bool = False,
        gradient_flow_adjustment: bool = True,
    ):
        super().__init__()
        smp = _library()
        encoder = encoder or DEFAULT_ENCODERS[architecture]
        known = smp.encoders.get_encoder_names()
        if encoder not in known and not encoder.startswith("tu-"):  # those are timm's
            raise ParameterError(f"encoder: no {encoder!r}; near are {', '.join(difflib.get_close_matches(encoder, known, n=4, cutoff=0))}")
        kind = {"unet": smp.Unet, "segformer": smp.Segformer}[architecture]
        mean, std = [0.0] * in_channels, [1.0] * in_channels
        try:
            if pretrained:  # what the weights were trained on
                statistics = smp.encoders.get_preprocessing_params(encoder)
                mean, std = ([sum(statistics[name]) / 3] if in_channels == 1 else statistics[name] for name in ("mean", "std"))
            self.network = kind(encoder, encoder_weights="imagenet" if pretrained else None, in_channels=in_channels, classes=1)
        except OSError as error:
            raise UserError(f"pretrained: cannot fetch the ImageNet weights of {encoder} ({error}); set pretrained to False") from error
        except (ValueError, KeyError, RuntimeError) as error:
            raise ParameterError(
                f"encoder: {encoder} does not work in {architecture} ({error}); try {DEFAULT_ENCODERS[architecture]}"
            ) from None
        self.gradient_flow_adjustment = gradient_flow_adjustment
        self.decision_head = nn.Linear(2 * self.network.encoder.out_channels[-1] + 2, 1)
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Decide and segment (N, in_channels, H, W) in [0, 1]: ``decision_logits`` (N, 1) and ``seg_logits`` (N, 1, H, W)."""
        height, width = image.shape[-2:]
        padded = F.pad((image - self.mean) / self.std, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
        features = self.network.encoder(padded)
        seg_logits = self.network.segmentation_head(self.network.decoder(features))[..., :height, :width]
        return self.decide(features[-1], seg_logits), seg_logits

    def decide(self, deepest: torch.Tensor, seg_logits: torch.Tensor) -> torch.Tensor:
        """The decision logits (N, 1) from the deepest features (N, C, h, w) and the segmentation logits."""
        if self.gradient_flow_adjustment:
            deepest, seg_logits = deepest.detach(), seg_logits.detach()
        return self.decision_head(pool(deepest, seg_logits))


def _library() -> ModuleType:
    try:
        import segmentation_models_pytorch
    except ImportError:
        raise ParameterError(
            "architecture: unet and segformer need segmentation_models_pytorch; install it with pip install -e '.[baselines]'"
        ) from None
    return segmentation_models_pytorch
