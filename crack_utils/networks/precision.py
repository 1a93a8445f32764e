"""Precision: fp32, tf32 or bf16, and a network that computes in one of them."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

WORDS = {
    "fp32": "float32",
    "tf32": "float32, TF32 in convolutions and products",
    "bf16": "bfloat16; float32 in weights, normalisation and losses",
}


def resolve_precision(name: str, device: torch.device) -> str:
    """The precision of this name; ``auto`` takes bf16 on a CUDA GPU with tensor cores for it (Ampere or later), and else fp32."""
    if name != "auto":
        return name
    # Older GPUs emulate bf16, so is_bf16_supported alone says too little.
    is_fast = device.type == "cuda" and torch.cuda.is_bf16_supported() and torch.cuda.get_device_capability(device) >= (8, 0)
    return "bf16" if is_fast else "fp32"


def prediction_precision(name: str, trained_in: str, device: torch.device) -> str:
    """The precision of a run's predictions: that of its training. Where ``auto`` chose bf16, a device takes what ``auto`` takes on it."""
    return resolve_precision("auto", device) if (name, trained_in) == ("auto", "bf16") else trained_in


def describe_precision(precision: str, device: torch.device) -> str:
    """The words for a run's provenance. Only a CUDA GPU has TF32."""
    return WORDS["fp32" if precision == "tf32" and device.type != "cuda" else precision]


@contextlib.contextmanager
def tf32(is_allowed: bool) -> Iterator[None]:
    """In this block, convolutions and products of float32 on a CUDA GPU may round their factors to TF32, or not."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = is_allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


class InPrecision(nn.Module):
    """A network that computes with the weights of another in tf32 or bf16. The float32 network needs none of this.

    In bf16, the forward pass computes in bfloat16 where torch's autocast does; weights, their gradients and logits are float32. On a CUDA
    GPU the channels of weights lie last in memory, as tensor cores read them. TF32 itself is switched by :func:`tf32`.
    """

    def __init__(self, network: nn.Module, precision: str):
        super().__init__()
        self.network, self.is_bf16 = network, precision == "bf16"
        if next(network.parameters()).device.type == "cuda":
            network.to(memory_format=torch.channels_last)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(image.device.type, torch.bfloat16, enabled=self.is_bf16):
            decision_logits, seg_logits = self.network(image)
        return decision_logits.float(), seg_logits.float()
