"""Modern baselines: networks of segmentation_models_pytorch. The library is an extra, so only building such a network imports it."""

import difflib

import torch
from torch import nn
from torch.nn import functional as F

from crack_utils.config import NETWORKS
from crack_utils.errors import ParameterError, UserError
from crack_utils.networks.segdecnet import pool

STRIDE = 32  # of every encoder used here


class Baseline(nn.Module):
    """A segmentation network of the library with a linear decision on the deepest features and the logits, as in SegDecNet.

    The encoder starts from ImageNet weights if ``pretrained``. Raises ParameterError without the library or such an encoder, and UserError
    if the weights cannot be downloaded.
    """

    kind, default_encoder = "", ""  # the names of the network and of an encoder in the library

    def __init__(self, encoder: str | None = None, in_channels: int = 3, pretrained: bool = False, gradient_flow_adjustment: bool = True):
        super().__init__()
        try:
            import segmentation_models_pytorch as smp
        except ImportError:
            message = "architecture: unet and segformer need segmentation_models_pytorch; install it with pip install -e '.[baselines]'"
            raise ParameterError(message) from None
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
            raise ParameterError(
                f"encoder: {encoder} does not work in {type(self).__name__} ({error}); try {self.default_encoder}"
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
        pooled = pool(features[-1], seg_logits)
        return self.decision_head(pooled.detach() if self.gradient_flow_adjustment else pooled), seg_logits


class UNet(Baseline):
    kind, default_encoder = "Unet", NETWORKS["unet"].encoder


class SegFormer(Baseline):
    kind, default_encoder = "Segformer", NETWORKS["segformer"].encoder
