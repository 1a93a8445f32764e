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
        with torch.autocast(x.device.type, enabled=False):  # autocast would round the factors of the statistics
            return _Normalise.apply(x, self.scale, self.bias, self.eps, self.relu)


class _Normalise(torch.autograd.Function):
    """The arithmetic of :class:`FeatureNorm` in a few passes over memory. ``torch.std_mean`` alone takes longer on a CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, bias: Tensor | None, eps: float, relu: bool) -> Tensor:
        centred = x - x.mean((2, 3), keepdim=True, dtype=torch.promote_types(x.dtype, torch.float32))
        std = torch.sqrt(_products(centred, centred) / (x.shape[2] * x.shape[3] - 1))
        factor = scale / torch.sqrt(std + eps)
        y = centred * factor if bias is None else torch.addcmul(bias, centred, factor)
        y = y.relu_().to(x.dtype) if relu else y
        ctx.save_for_backward(centred, y if relu else None, scale, std)
        ctx.eps, ctx.has_bias = eps, bias is not None
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        centred, y, scale, std = ctx.saved_tensors
        pixels, root = centred.shape[2] * centred.shape[3], torch.sqrt(std + ctx.eps)
        if y is not None:
            grad = torch.ops.aten.threshold_backward(grad, y, 0).to(centred.dtype)
        total, deviation = grad.sum((2, 3), keepdim=True), _products(grad, centred)
        factor = scale / root
        # The standard deviation's own derivative is centred / ((pixels - 1) * std); a channel without any deviation has none.
        slope = torch.where(std > 0, -0.5 * factor / root**2 * deviation / ((pixels - 1) * std), 0)
        back = torch.addcmul(-factor * total / pixels, centred, slope).addcmul_(grad, factor)
        return back, (deviation / root).sum(0, keepdim=True), total.sum(0, keepdim=True) if ctx.has_bias else None, None, None


def _products(a: Tensor, b: Tensor) -> Tensor:
    """The sum over the pixels of a * b, for each sample and channel: (N, C, 1, 1)."""
    if a.device.type != "cpu":  # a product of matrices might be rounded to TF32 there, and would copy channels that lie last
        return (a * b).sum((2, 3), keepdim=True)
    rows = a.shape[0] * a.shape[1]
    return torch.bmm(a.reshape(rows, 1, -1), b.reshape(rows, -1, 1)).view(*a.shape[:2], 1, 1)
