"""Modern baselines: networks of segmentation_models_pytorch with SegDecNet's two outputs.

The library is an extra, so only building such a network imports it.
"""

import difflib
from types import ModuleType

import torch
from torch import nn
from torch.nn import functional as F

from crack_utils.config import NETWORKS
from crack_utils.errors import ParameterError, UserError
from crack_utils.networks.segdecnet import pool

STRIDE = 32  # of every encoder used here


class Baseline(nn.Module):
    """A segmentation network of the library with a linear decision on the deepest features and the logits, as in SegDecNet.

    Args:
        encoder: the name of an encoder of segmentation_models_pytorch.
        in_channels: channels of the input image.
        pretrained: ImageNet weights for the encoder, fetched from the internet when first needed; otherwise random weights.
        gradient_flow_adjustment: keep the decision loss out of the encoder and the segmentation.

    Raises:
        ParameterError: there is no such encoder, or the library is not installed.
        UserError: the weights cannot be fetched.
    """

    kind: str  # the network's name in the library
    default_encoder: str

    def __init__(self, encoder: str | None = None, in_channels: int = 3, pretrained: bool = False, gradient_flow_adjustment: bool = True):
        super().__init__()
        smp = _library()
        encoder = encoder or self.default_encoder
        known = smp.encoders.get_encoder_names()
        if encoder not in known and not encoder.startswith("tu-"):  # names with tu- are timm's
            raise ParameterError(f"encoder: no {encoder!r}; try {', '.join(difflib.get_close_matches(encoder, known, n=4, cutoff=0))}")
        mean, std = [0.0] * in_channels, [1.0] * in_channels
        weights = "imagenet" if pretrained else None
        try:
            if pretrained:  # normalise as the weights' own training did
                statistics = smp.encoders.get_preprocessing_params(encoder)
                mean, std = ([sum(statistics[name]) / 3] if in_channels == 1 else statistics[name] for name in ("mean", "std"))
            self.network = getattr(smp, self.kind)(encoder, encoder_weights=weights, in_channels=in_channels, classes=1)
        except OSError as error:
            raise UserError(f"pretrained: cannot fetch the ImageNet weights of {encoder} ({error}); set pretrained to False") from error
        except (ValueError, KeyError, RuntimeError) as error:
            name = type(self).__name__
            raise ParameterError(f"encoder: {encoder} does not work in {name} ({error}); try {self.default_encoder}") from None
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


class UNet(Baseline):
    """U-Net."""

    kind, default_encoder = "Unet", NETWORKS["unet"].encoder


class SegFormer(Baseline):
    """SegFormer."""

    kind, default_encoder = "Segformer", NETWORKS["segformer"].encoder


def _library() -> ModuleType:
    try:
        import segmentation_models_pytorch
    except ImportError:
        raise ParameterError(
            "architecture: unet and segformer need segmentation_models_pytorch; install it with pip install -e '.[baselines]'"
        ) from None
    return segmentation_models_pytorch
