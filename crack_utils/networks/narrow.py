"""Convolution on a CPU to a few channels: the same sums, arranged so that they fill the processor's vectors.

PyTorch computes as many output channels at once as a vector has numbers. Of a layer with fewer channels it computes the rest in vain. Here
neighbouring columns of the output become channels: a kernel of k x k pixels becomes ``phases`` kernels of k x (k + phases - 1) pixels,
each moved by a column, which together move on by ``phases`` columns.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

MOST_PHASES = 8  # more phases mean more multiplications with zeros than they save; as measured


def phases(out_channels: int, kernel: int, width: int) -> int:
    """The number of columns to compute at once, for an output of ``width`` columns; 1 where the direct way takes less time."""
    lanes = 16 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 8
    found = min(MOST_PHASES, lanes // out_channels)
    return found if kernel > 1 and found > 1 and width % found == 0 else 1


class Narrow(torch.autograd.Function):
    """The convolution of (N, C, H, W) with kernels (O, C, k, k), of the same height and width, ``phases`` columns at a time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, phases: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.phases = phases
        y = F.conv2d(x, _moved(weight, phases), stride=(1, phases), padding=weight.shape[2] // 2)
        return y.view(len(x), phases, len(weight), *y.shape[2:]).permute(0, 2, 3, 4, 1).reshape(len(x), len(weight), *x.shape[2:])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (x, weight), n = ctx.saved_tensors, ctx.phases
        outputs, edge, back, learned = len(weight), weight.shape[2] // 2, None, None
        if ctx.needs_input_grad[0]:  # the transposed convolution, written as a convolution
            back = F.conv2d(grad, weight.flip(2, 3).transpose(0, 1).contiguous(), padding=edge)
        if ctx.needs_input_grad[1]:
            columns = grad.view(*grad.shape[:3], -1, n).permute(0, 4, 1, 2, 3).reshape(len(x), n * outputs, x.shape[2], -1)
            shape = (n * outputs, *weight.shape[1:3], weight.shape[3] + n - 1)
            learned = torch.nn.grad.conv2d_weight(x, shape, columns, stride=(1, n), padding=edge)
            learned = sum(learned[i * outputs : (i + 1) * outputs, ..., i : i + weight.shape[3]] for i in range(n))
        return back, learned, None


def _moved(weight: Tensor, phases: int) -> Tensor:
    """The kernels moved by 0, 1, ... columns: (phases O, C, k, k + phases - 1)."""
    return torch.cat([F.pad(weight, (i, phases - 1 - i)) for i in range(phases)])
