"""SegDecNet and its family: one network that segments a crack and decides whether there is one.

The two-stage design is that of Božič, Tabernik and Skočaj (Computers in Industry, 2021). This decoder goes up to full resolution.
"""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from crack_utils.networks.fourier import Conv2d
from crack_utils.networks.norm import FeatureNorm
from crack_utils.networks.pool import MaxPool


def conv_block(in_channels: int, out_channels: int, kernel_size: int = 5) -> nn.Sequential:
    """Convolution without bias (Xavier-normal weights, same size out), FeatureNorm, ReLU."""
    conv = Conv2d(in_channels, out_channels, kernel_size)
    nn.init.xavier_normal_(conv.weight)
    return nn.Sequential(conv, FeatureNorm(out_channels, relu=True))


def segmentation_head(in_channels: int, kernel_size: int) -> nn.Sequential:
    """Convolution to one channel and FeatureNorm with scale only."""
    return nn.Sequential(conv_block(in_channels, 1, kernel_size)[0], FeatureNorm(1, bias=False))


def pool(features: torch.Tensor, seg_logits: torch.Tensor) -> torch.Tensor:
    """The decision's input, (N, 2 C + 2): maxima and means of (N, C, h, w) features, then maximum and mean of the logits."""
    return torch.cat([features.amax((2, 3)), features.mean((2, 3)), seg_logits.amax((2, 3)), seg_logits.mean((2, 3))], dim=1)


class UpBlock(nn.Module):
    """One decoder step: upsample by 2, append to the skip, convolve."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int, blocks: int):
        super().__init__()
        self.upsample = nn.ConvTranspose2d(in_channels, out_channels, kernel_size=5, stride=2)
        channels = [skip_channels + out_channels] + [out_channels] * blocks
        self.blocks = nn.Sequential(*(conv_block(a, b) for a, b in pairwise(channels)))

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        # The transposed convolution's output is 3 pixels too large: remove 2 at the left and top, 1 at the right and bottom.
        upsampled = self.upsample(x)[:, :, 2:-1, 2:-1]
        return self.blocks(torch.cat([skip, upsampled], dim=1))


class SegDecNet(nn.Module):
    """SegDecNet with full-resolution decoder, 16,151,836 parameters for three channels."""

    def __init__(self, in_channels: int = 3, gradient_flow_adjustment: bool = True):
        super().__init__()
        self.gradient_flow_adjustment = gradient_flow_adjustment
        self.v1 = conv_block(in_channels, 32)
        self.v2 = nn.Sequential(MaxPool(), conv_block(32, 64), conv_block(64, 64), conv_block(64, 64))
        self.v3 = nn.Sequential(MaxPool(), *(conv_block(64, 64) for _ in range(4)))
        self.v4 = nn.Sequential(MaxPool(), conv_block(64, 1024, kernel_size=15))
        self.build_segmentation()
        self.decision_features = nn.Sequential(MaxPool(), conv_block(1025, 8), MaxPool(), conv_block(8, 16), MaxPool(), conv_block(16, 32))
        self.decision_head = nn.Linear(66, 1)

    def build_segmentation(self) -> None:
        """Make the layers that :meth:`segment` uses."""
        self.up3 = UpBlock(1024, 64, 16, blocks=1)
        self.up2 = UpBlock(16, 64, 16, blocks=4)
        self.up1 = UpBlock(16, 32, 8, blocks=3)
        self.seg_head = segmentation_head(8, 5)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Decide and segment (N, in_channels, H, W) in [0, 1]: ``decision_logits`` (N, 1) and ``seg_logits`` (N, 1, H, W).

        H and W must be divisible by 8, and H//64 * W//64 at least 2.
        """
        v1 = self.v1(image)
        v2 = self.v2(v1)
        v3 = self.v3(v2)
        v4 = self.v4(v3)
        seg_logits = self.segment(v1, v2, v3, v4)
        return self.decide(v4, seg_logits), seg_logits

    def segment(self, v1: torch.Tensor, v2: torch.Tensor, v3: torch.Tensor, v4: torch.Tensor) -> torch.Tensor:
        """Segmentation logits (N, 1, H, W) from the encoder's features at 1, 1/2, 1/4 and 1/8 of the input's size."""
        return self.seg_head(self.up1(self.up2(self.up3(v4, v3), v2), v1))

    def decide(self, v4: torch.Tensor, seg_logits: torch.Tensor) -> torch.Tensor:
        """The decision logits (N, 1) from the deepest features (N, 1024, H/8, W/8) and the segmentation logits."""
        if self.gradient_flow_adjustment:  # keep the decision loss out of the encoder and the segmentation
            v4, seg_logits = v4.detach(), seg_logits.detach()
        x = self.decision_features(torch.cat([v4, F.avg_pool2d(seg_logits, 8)], dim=1))
        return self.decision_head(pool(x, seg_logits))


class SkipGate(nn.Module):
    """Convolve a skip by 1 x 1 and multiply each channel by a gate in (0, 1). The gate is computed from the skip's global mean."""

    def __init__(self, channels: int):
        super().__init__()
        self.project = nn.Conv2d(channels, channels, 1, bias=False)
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, channels, 1), nn.SiLU(), nn.Conv2d(channels, channels, 1), nn.Sigmoid()
        )
        for conv in (self.project, self.gate[1], self.gate[3]):
            nn.init.xavier_normal_(conv.weight)

    def forward(self, skip: torch.Tensor) -> torch.Tensor:
        return self.project(skip) * self.gate(skip)


class SegDecNetPlusPlus(SegDecNet):
    """SegDecNet++: each skip has its own gate. (In the original code two skips share one gate by mistake.)"""

    def build_segmentation(self) -> None:
        super().build_segmentation()
        self.gate3, self.gate2, self.gate1 = SkipGate(64), SkipGate(64), SkipGate(32)

    def segment(self, v1: torch.Tensor, v2: torch.Tensor, v3: torch.Tensor, v4: torch.Tensor) -> torch.Tensor:
        return super().segment(self.gate1(v1), self.gate2(v2), self.gate3(v3), v4)


class SegDecNetJim(SegDecNet):
    """SegDecNet without decoder: segmentation at 1/8 of the input's size, enlarged by repeating pixels."""

    def build_segmentation(self) -> None:
        self.seg_head = segmentation_head(1024, 1)

    def segment(self, v1: torch.Tensor, v2: torch.Tensor, v3: torch.Tensor, v4: torch.Tensor) -> torch.Tensor:
        # The decision averages these logits over 8 x 8 pixels, which gives the small logits back unchanged.
        return F.interpolate(self.seg_head(v4), scale_factor=8, mode="nearest")
