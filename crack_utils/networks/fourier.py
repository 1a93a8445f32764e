"""Convolution on a CPU in the frequency domain, by tiles: for large kernels a fraction of the arithmetic, and the same sums up to rounding.

Tiles of the input, which overlap, and the kernel become spectra. The output's spectrum is their product at each frequency, summed over the
channels. All transforms are products with small matrices. So the frequencies come first in memory, and the products at all frequencies
are one batch of matrix products. The kernel's spectra would be large, so output channels are done in groups. (Overlap-save: Oppenheim and
Schafer, Discrete-Time Signal Processing, chapter 8; in networks: Mathieu, Henaff and LeCun, 2013, arxiv.org/abs/1312.5851.)
"""

import functools
import itertools
import math
import weakref
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crack_utils.networks.narrow import Narrow, phases

SIDES = range(16, 66)  # of a tile of the input, in pixels
MOST_KEPT = 2**26  # numbers in the spectra of a kernel that is kept
GROUP = (
    4_000_000  # numbers in the largest array of a group of channels; the system's allocator keeps arrays of this size for the next group
)
PAYS = 3.7  # direct multiplications for each one in the frequency domain, from which on the latter takes less time; as measured
Matrices = tuple[Tensor, Tensor]  # of a transform along y and of one along x

_kept: "weakref.WeakKeyDictionary[nn.Module, tuple[Any, list[Tensor]]]" = weakref.WeakKeyDictionary()


class Plan(NamedTuple):
    """How an output of one size is made of tiles, and the transforms of a tile, of the kernel, and back to a tile of the output."""

    tiles: tuple[int, int]  # tiles along y and x
    side: tuple[int, int]  # (height, width) of a tile of the input
    step: tuple[int, int]  # (height, width) of a tile of the output
    image: Matrices
    kernel: Matrices
    back: Matrices


@functools.lru_cache(maxsize=256)
def plan(size: tuple[int, int], kernel: int, channels: tuple[int, int], learns: bool) -> Plan | None:
    """The plan with the least arithmetic for an output of ``size`` (height, width); None where the direct way takes less time.

    ``channels`` are those of the input and of the output. A network that ``learns`` transforms the kernel anew in each pass.
    """
    sides = [side for side in SIDES if side > kernel]

    def cost(side: tuple[int, int]) -> float:
        """Multiplications for each pair of channels."""
        (y, x), bins = side, side[0] // 2 + 1
        if 2 * bins * x * channels[0] * channels[1] > MOST_KEPT:
            return math.inf
        tiles = _tiles(size, side, kernel)
        (step_y, step_x), count = [each - kernel + 1 for each in side], tiles[0] * tiles[1]
        image, back = 2 * bins * x * (y + 2 * x), 2 * bins * step_x * (step_y + 2 * x)
        return count * (4 * bins * x + image / channels[1] + back / channels[0]) + learns * 2 * bins * kernel * (kernel + 2 * x)

    side = min(itertools.product(sides, repeat=2), key=cost)
    if size[0] * size[1] * kernel**2 < PAYS * cost(side):
        return None
    step = side[0] - kernel + 1, side[1] - kernel + 1
    matrices = _matrices(side, side), _matrices(side, (kernel, kernel), conjugate=True), _matrices(side, step, is_inverse=True)
    return Plan(_tiles(size, side, kernel), side, step, *matrices)


def _tiles(size: tuple[int, int], side: tuple[int, int], kernel: int) -> tuple[int, int]:
    return -(-size[0] // (side[0] - kernel + 1)), -(-size[1] // (side[1] - kernel + 1))


def _matrices(side: tuple[int, int], used: tuple[int, int], conjugate: bool = False, is_inverse: bool = False) -> Matrices:
    """The transform of the first ``used`` values along y and x. Of an inverse, the transform whose adjoint is the inverse."""
    bins = side[0] // 2 + 1  # those above mirror the others, because all values are real
    angles = [
        2 * math.pi / n * torch.arange(rows, dtype=torch.float64)[:, None] * torch.arange(columns)
        for n, rows, columns in zip(side, (bins, side[1]), used, strict=True)
    ]
    (cos_y, sin_y), (cos_x, sin_x) = ((angle.cos(), angle.sin() * (1 if conjugate else -1)) for angle in angles)
    along_y = torch.stack([cos_y, sin_y], 1).flatten(0, 1)
    along_x = torch.stack([torch.stack([cos_x, -sin_x], 1), torch.stack([sin_x, cos_x], 1)], 1).flatten(0, 1).flatten(1)
    if is_inverse:
        times = torch.full((bins, 1), 2.0, dtype=torch.float64)
        times[0] = 1
        times[side[0] // 2 if side[0] % 2 == 0 else 0] = 1  # the highest bin of an even number of values is its own mirror
        along_y, along_x = along_y * times.repeat_interleave(2, 0) / side[0], along_x / side[1]
    return along_y.float(), along_x.float()


def _spectra(matrices: Matrices, values: Tensor) -> Tensor:
    """Transform (y, x, ...) to (bins, 2, n), real and imaginary."""
    along_y, along_x = matrices
    half = (along_y @ values.flatten(1)).view(len(along_y) // 2, along_x.shape[1], -1)
    return torch.bmm(along_x.expand(len(half), *along_x.shape), half).view(-1, 2, half.shape[2])


def _adjoint(matrices: Matrices, spectra: Tensor) -> Tensor:
    """The adjoint of :func:`_spectra`: (bins, 2, n) to (y, x, n)."""
    along_y, along_x = matrices[0].t(), matrices[1].t()
    spectra = spectra.reshape(along_y.shape[1] // 2, along_x.shape[1], -1)
    half = torch.bmm(along_x.expand(len(spectra), *along_x.shape), spectra)
    return (along_y @ half.view(along_y.shape[1], -1)).view(len(along_y), len(along_x) // 2, -1)


def _image_spectra(x: Tensor, kernel: int, plan: Plan) -> Tensor:
    """The spectra of the tiles of (N, C, H, W), as matrices that multiply a kernel's spectra: (bins, 2 M, 2 C) for M tiles."""
    (n, channels, height, width), (ny, nx), (step_y, step_x) = x.shape, plan.tiles, plan.step
    edge = kernel // 2
    padded = F.pad(x, (edge, nx * step_x - width + edge, edge, ny * step_y - height + edge))
    tiles = padded.unfold(2, plan.side[0], step_y).unfold(3, plan.side[1], step_x)  # (N, C, ny, nx, y, x)
    spectra = _spectra(plan.image, tiles.permute(4, 5, 0, 2, 3, 1).reshape(*plan.side, -1)).view(-1, 2, n * ny * nx, channels)
    whole = spectra.new_empty(len(spectra), 2, spectra.shape[2], 2, channels)
    whole[:, 0, :, 0], whole[:, 0, :, 1], whole[:, 1, :, 0] = spectra[:, 0], -spectra[:, 1], spectra[:, 1]
    whole[:, 1, :, 1] = spectra[:, 0]
    return whole.view(len(spectra), 2 * spectra.shape[2], 2 * channels)


def _image_adjoint(spectra: Tensor, shape: torch.Size, kernel: int, plan: Plan) -> Tensor:
    """The adjoint of :func:`_image_spectra`."""
    (n, channels, height, width), (ny, nx), (step_y, step_x) = shape, plan.tiles, plan.step
    (a, b), (c, d) = (half.chunk(2, 2) for half in spectra.chunk(2, 1))
    tiles = _adjoint(plan.image, torch.stack([a + d, c - b], 1).flatten(2)).view(*plan.side, n, ny * nx, channels)
    columns = tiles.permute(2, 4, 0, 1, 3).reshape(n, channels * plan.side[0] * plan.side[1], ny * nx)
    padded = (ny * step_y + kernel - 1, nx * step_x + kernel - 1)
    edge = kernel // 2
    return F.fold(columns, padded, plan.side, stride=plan.step)[:, :, edge : edge + height, edge : edge + width]


def _kernel_spectra(weight: Tensor, plan: Plan) -> Tensor:
    """The spectra of kernels (O, C, k, k): (bins, 2 C, O)."""
    spectra = _spectra(plan.kernel, weight.permute(2, 3, 1, 0).contiguous())
    return spectra.view(len(spectra), -1, len(weight))


def _groups(outputs: int, inputs: int, tiles: int, plan: Plan, learns: bool) -> range:
    """The first channel of each group of output channels. Without learning, the kernel's spectra are there already."""
    numbers = (plan.side[0] // 2 + 1) * plan.side[1] * 2 * max(inputs, tiles)
    return range(0, outputs, max(16, min(outputs, (GROUP if learns else 4 * GROUP) // numbers // 16 * 16)))


class _Convolution(torch.autograd.Function):
    """The convolution of (N, C, H, W) with kernels (O, C, k, k), of the same height and width."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, plan: Plan) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.plan = plan
        return _convolve(x, weight, plan)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (x, weight), plan = ctx.saved_tensors, ctx.plan
        n, (ny, nx), (step_y, step_x), kernel = len(x), plan.tiles, plan.step, weight.shape[-1]
        image = _image_spectra(x, kernel, plan).transpose(1, 2)
        groups = _groups(len(weight), x.shape[1], n * ny * nx, plan, learns=True)
        back, grad_weight = None, torch.empty_like(weight) if ctx.needs_input_grad[1] else None
        for first in groups:
            part = slice(first, first + groups.step)
            padded = F.pad(grad[:, part], (0, nx * step_x - grad.shape[3], 0, ny * step_y - grad.shape[2]))
            tiles = padded.view(n, -1, ny, step_y, nx, step_x).permute(3, 5, 0, 2, 4, 1).contiguous()
            spectra = _spectra(plan.back, tiles).view(len(image), -1, tiles.shape[-1])  # (bins, 2 M, O)
            if ctx.needs_input_grad[0]:
                kernels = _kernel_spectra(weight[part], plan).transpose(1, 2)
                back = torch.bmm(spectra, kernels) if back is None else back.baddbmm_(spectra, kernels)
            if grad_weight is not None:
                learned = _adjoint(plan.kernel, torch.bmm(image, spectra)).view(kernel, kernel, x.shape[1], -1)
                grad_weight[part] = learned.permute(3, 2, 0, 1)
        return None if back is None else _image_adjoint(back, x.shape, kernel, plan), grad_weight, None


def _convolve(x: Tensor, weight: Tensor, plan: Plan, spectra: list[Tensor] | None = None) -> Tensor:
    """The output (N, O, H, W). ``spectra`` are the kernels' spectra, group by group, if they are known."""
    (n, channels, height, width), (ny, nx), (step_y, step_x) = x.shape, plan.tiles, plan.step
    image, out = _image_spectra(x, weight.shape[-1], plan), x.new_empty(n, len(weight), height, width)
    for i, first in enumerate(groups := _groups(len(weight), channels, n * ny * nx, plan, spectra is None)):
        part = slice(first, first + groups.step)
        kernels = spectra[i] if spectra else _kernel_spectra(weight[part], plan)
        tiles = _adjoint(plan.back, torch.bmm(image, kernels)).view(step_y, step_x, n, ny, nx, -1)
        whole = tiles.permute(2, 5, 3, 0, 4, 1).reshape(n, -1, ny * step_y, nx * step_x)
        out[:, part] = whole[:, :, :height, :width]
    return out


class Conv2d(nn.Conv2d):
    """A convolution without bias, whose output has the input's height and width. On a CPU it takes the fastest of three ways.

    Without gradients, the kernels' spectra are kept for the next call.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int):
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        learns = torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad)
        is_plain = x.device.type == "cpu" and x.dtype == self.weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
        found = plan(tuple(x.shape[2:]), self.kernel_size[0], (self.in_channels, self.out_channels), learns) if is_plain else None
        if learns:
            _kept.pop(self, None)  # the weights will change, and a training needs the memory
        if found is None:
            columns = phases(self.out_channels, self.kernel_size[0], x.shape[3]) if is_plain else 1
            return Narrow.apply(x, self.weight, columns) if columns > 1 else super().forward(x)
        return _Convolution.apply(x, self.weight, found) if learns else _convolve(x, self.weight, found, self._spectra(x, found))

    def _spectra(self, x: Tensor, plan: Plan) -> list[Tensor]:
        """The kernels' spectra, group by group."""
        groups = _groups(len(self.weight), x.shape[1], len(x) * plan.tiles[0] * plan.tiles[1], plan, learns=False)
        key = plan.side, groups.step, self.weight.data_ptr(), self.weight._version
        if self not in _kept or _kept[self][0] != key:
            _kept[self] = key, [_kernel_spectra(self.weight[first : first + groups.step], plan) for first in groups]
        return _kept[self][1]
