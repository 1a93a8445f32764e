"""FeatureNorm, with the ReLU that follows it, in as few passes over memory as the formulas allow."""

from typing import Any

import torch
from torch import Tensor, nn


class FeatureNorm(nn.Module):
    """Normalise each channel of (N, C, H, W) over at least two pixels of its sample: ``scale * (x - mean) / sqrt(std + eps) + bias``.

    ``std`` is the unbiased standard deviation. The published definition takes the root of the standard deviation; InstanceNorm takes
    the root of the variance. With ``relu``, negative values become 0.
    """

    def __init__(self, channels: int, bias: bool = True, eps: float = 0.001, relu: bool = False):
        super().__init__()
        self.eps, self.relu = eps, relu
        self.scale = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return _Normalise.apply(x, self.scale, self.bias, self.eps, self.relu)


class _Normalise(torch.autograd.Function):
    """The arithmetic of :class:`FeatureNorm`: ``factor * x + offset`` for each channel, one pass forward and three backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, bias: Tensor | None, eps: float, relu: bool) -> Tensor:
        std, mean = torch.std_mean(x, dim=(2, 3), keepdim=True)
        factor = scale / torch.sqrt(std + eps)
        offset = -mean * factor if bias is None else bias - mean * factor
        y = torch.addcmul(offset, x, factor)
        y = y.relu_() if relu else y
        ctx.save_for_backward(x, y if relu else None, scale, std, mean)
        ctx.eps, ctx.has_bias = eps, bias is not None
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, y, scale, std, mean = ctx.saved_tensors
        (n, channels, height, width), root = x.shape, torch.sqrt(std + ctx.eps)
        if y is not None:
            grad = torch.ops.aten.threshold_backward(grad, y, 0)
        rows = grad.reshape(n * channels, 1, height * width)
        total = rows.sum(2).view_as(std)
        deviation = torch.bmm(rows, x.reshape(n * channels, height * width, 1)).view_as(std) - mean * total  # the sum of grad * (x - mean)
        factor = scale / root
        # The standard deviation's own derivative is (x - mean) / ((pixels - 1) * std); a channel without any deviation has none.
        slope = torch.where(std > 0, -0.5 * factor / root**2 * deviation / ((height * width - 1) * std), 0)
        back = torch.addcmul(-factor * total / (height * width) - slope * mean, x, slope).addcmul_(grad, factor)
        return back, (deviation / root).sum(0, keepdim=True), total.sum(0, keepdim=True) if ctx.has_bias else None, None, None
