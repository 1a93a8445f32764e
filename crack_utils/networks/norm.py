"""FeatureNorm, with the ReLU that follows it, in as few passes over memory as the formulas allow."""

import math
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
    """The arithmetic of :class:`FeatureNorm` in a few passes over memory. ``torch.std_mean`` alone takes longer on a CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, bias: Tensor | None, eps: float, relu: bool) -> Tensor:
        centred = x - x.mean((2, 3), keepdim=True)
        std = torch.linalg.vector_norm(centred, dim=(2, 3), keepdim=True) / math.sqrt(x.shape[2] * x.shape[3] - 1)
        factor = scale / torch.sqrt(std + eps)
        y = centred * factor if bias is None else torch.addcmul(bias, centred, factor)
        y = y.relu_() if relu else y
        ctx.save_for_backward(centred, y if relu else None, scale, std)
        ctx.eps, ctx.has_bias = eps, bias is not None
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        centred, y, scale, std = ctx.saved_tensors
        pixels, root = centred.shape[2] * centred.shape[3], torch.sqrt(std + ctx.eps)
        if y is not None:
            grad = torch.ops.aten.threshold_backward(grad, y, 0)
        total, deviation = grad.sum((2, 3), keepdim=True), (grad * centred).sum((2, 3), keepdim=True)
        factor = scale / root
        # The standard deviation's own derivative is centred / ((pixels - 1) * std); a channel without any deviation has none.
        slope = torch.where(std > 0, -0.5 * factor / root**2 * deviation / ((pixels - 1) * std), 0)
        back = torch.addcmul(-factor * total / pixels, centred, slope).addcmul_(grad, factor)
        return back, (deviation / root).sum(0, keepdim=True), total.sum(0, keepdim=True) if ctx.has_bias else None, None, None
