"""Ways to compute a convolution on a GPU in 16 bits. The fastest one is measured.

cuDNN has no kernel with tensor cores for some convolutions, such as that of 15 x 15 pixels from 64 to 1024 channels. The same sums have
other names: a transposed convolution with the kernel turned by 180 degrees, or a convolution with more channels, whose weights are 0.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

LARGE = 9  # pixels: from this side on, a kernel may be faster as a transposed convolution
CHANNELS = 16  # that tensor cores take at a time
REPEATS = 5

Way = Callable[[Tensor, Tensor], Tensor]  # from (N, C, H, W) and kernels (O, C, k, k) to (N, O, H, W)


class Choice(NamedTuple):
    """The fastest way, and the median milliseconds of each."""

    name: str
    medians_ms: dict[str, float]


_chosen: dict[tuple, Choice] = {}


def direct(x: Tensor, weight: Tensor) -> Tensor:
    """torch's own convolution."""
    return F.conv2d(x, weight, padding=weight.shape[-1] // 2)


class _Transposed(torch.autograd.Function):
    """The output by a transposed convolution, the gradients by the kernels of the ordinary one, which have tensor cores."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        turned = weight.flip(2, 3).transpose(0, 1)
        return F.conv_transpose2d(x, turned, padding=weight.shape[-1] // 2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        padding, needed = [weight.shape[-1] // 2] * 2, [*ctx.needs_input_grad, False]
        return torch.ops.aten.convolution_backward(grad, x, weight, None, [1, 1], padding, [1, 1], False, [0, 0], 1, needed)[:2]


def transposed(x: Tensor, weight: Tensor) -> Tensor:
    """A transposed convolution with the kernel turned by 180 degrees and its channels exchanged. The kernel's side is odd."""
    return _Transposed.apply(x, weight)


def padded(x: Tensor, weight: Tensor) -> Tensor:
    """A convolution of at least CHANNELS channels. The added ones are 0, or are left out of the output."""
    outputs, inputs = weight.shape[:2]
    more = max(0, CHANNELS - inputs)
    weight = F.pad(weight, (0, 0, 0, 0, 0, more, 0, max(0, CHANNELS - outputs)))
    return direct(F.pad(x, (0, 0, 0, 0, 0, more)), weight)[:, :outputs]


WAYS: dict[str, Way] = {"conv2d": direct, "conv_transpose2d": transposed, f"conv2d of {CHANNELS} channels": padded}


def candidates(weight: Tensor) -> list[str]:
    """The names of the ways that may be the fastest with these kernels."""
    is_large, is_thin = weight.shape[-1] >= LARGE, weight.shape[0] < CHANNELS
    return [name for name, may_pay in zip(WAYS, (True, is_large, is_thin), strict=True) if may_pay]


def measure(ways: Mapping[str, Way], x: Tensor, weight: Tensor, learns: bool) -> dict[str, list[float]]:
    """Seconds of each way, REPEATS times after a warm-up; with the gradients if the network ``learns``."""
    x, weight = (each.detach().requires_grad_(learns) for each in (x, weight))
    times = {name: [] for name in ways}
    for _ in range(REPEATS + 1):
        for name, way in ways.items():
            started = _now(x.device)
            y = way(x, weight)
            if learns:
                torch.autograd.grad(y, (x, weight), y)
            times[name].append(_now(x.device) - started)
    return {name: values[1:] for name, values in times.items()}


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def choose(times: Mapping[str, Sequence[float]]) -> Choice:
    """The way with the smallest median of its seconds; of equals the first."""
    medians = {name: 1000 * statistics.median(values) for name, values in times.items()}
    return Choice(min(medians, key=medians.get), medians)


@torch.compiler.disable  # a compiler cannot follow a choice by the clock
def convolve(x: Tensor, weight: Tensor, measure: Callable = measure) -> Tensor:
    """The convolution of (N, C, H, W) with kernels (O, C, k, k), in the type of autocast, by the fastest way for these shapes."""
    x, weight = (each.to(torch.get_autocast_dtype(x.device.type)) for each in (x, weight))
    names = candidates(weight)
    if len(names) == 1:
        return direct(x, weight)
    learns = torch.is_grad_enabled() and weight.requires_grad
    key = x.device, x.dtype, tuple(x.shape), tuple(weight.shape), learns
    if key not in _chosen:
        _chosen[key] = choose(measure({name: WAYS[name] for name in names}, x, weight, learns))
    return WAYS[_chosen[key].name](x, weight)


def chosen_ways() -> Iterator[str]:
    """A sentence for the log on each convolution that is not computed by torch's own."""
    for (_, _, (n, inputs, height, width), (outputs, _, kernel, _), learns), choice in _chosen.items():
        if choice.name != "conv2d":
            times = ", ".join(f"{name} {median:.2f} ms" for name, median in choice.medians_ms.items())
            what = "a training step" if learns else "a prediction"
            yield f"Convolution of {kernel} x {kernel}, {inputs} to {outputs} channels, {n} x {height} x {width}, in {what}: {times}"
