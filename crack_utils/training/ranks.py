"""The processes that train together: how they share a batch, its gradients and its results.

Each process runs the whole loop, so all of them draw the same order and keep the same memory of difficult images. Process 0 alone
validates and writes files.
"""

import contextlib
import datetime
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from crack_utils.data import Batch, Loader
from crack_utils.errors import ParameterError, UserError

# A process waits this long for another one that still lives. Meanwhile process 0 may read its data or validate.
PATIENCE = datetime.timedelta(hours=2)
GPU_PATIENCE = datetime.timedelta(minutes=5)  # of the exchange of gradients, which all processes reach at about the same time
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class Lost(UserError):
    """Another process of the training has ended too early."""


class Alone:
    """A training by one process. Its methods are those of :class:`Group`, and do next to nothing."""

    rank, count = 0, 1
    about: ClassVar[dict[str, Any]] = {}  # what the provenance says of the processes

    def share(self, n_images: int) -> int:
        return n_images

    def prepared(self, model: nn.Module, images: Sequence[str]) -> nn.Module:
        return model

    def join(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        pass

    def once(self, work: Callable[[], Any]) -> Any:
        return work()

    def batches(self, loader: Loader, keys: list) -> Iterator[Batch]:
        yield from loader.batches(keys)

    def seed(self, *numbers: int) -> None:
        pass

    def gathered(self, results: torch.Tensor) -> torch.Tensor:
        return results

    def agreed(self, stop: bool) -> bool:
        return stop


class Group:
    """A training by ``count`` processes that torch.distributed has joined; this one is number ``rank``.

    Small things travel through the main memory (gloo), and the gradients of GPUs by NCCL.

    Args:
        batch_size: images in a training step of all processes together.
        why: tells why another process has ended, in a few words.
    """

    def __init__(self, store: dist.Store, rank: int, count: int, batch_size: int, device: torch.device, why: Callable[[], str]):
        self.rank, self.count, self._batch_size, self._why = rank, count, batch_size, why
        with self._connected():
            dist.init_process_group("gloo", store=store, rank=rank, world_size=count, timeout=PATIENCE)
            self._gradients = dist.new_group(backend="nccl", timeout=GPU_PATIENCE) if device.type == "cuda" else dist.group.WORLD
        self.about = {"processes": count, "backend": dist.get_backend(self._gradients)}
        self._n_images, self._part = 0, slice(0)  # of the present batch: images of all processes, and the place of this one's images
        self._stop = self._agreed = False

    def share(self, n_images: int) -> int:
        """How many of a batch's images this process trains on. A process without an image repeats the first one, which does not count."""
        return max(1, self._slice(n_images).stop - self._slice(n_images).start)

    def prepared(self, model: nn.Module, images: Sequence[str]) -> nn.Module:
        """The network with the weights of process 0.

        Raises:
            ParameterError: the network has batch normalisation, which only GPUs can compute together.
            UserError: this process has found other training images than process 0.
        """
        if self.once(lambda: images) != images:
            raise UserError("process 0 has found other training images; each machine needs the same files in data_root")
        if self.about["backend"] != "nccl" and any(isinstance(module, BATCH_NORMS) for module in model.modules()):
            raise ParameterError(
                f"processes: this network has batch normalisation, which {self.count} processes can only compute together on GPUs; "
                "train by one process, or choose an architecture without batch normalisation, such as segdecnet"
            )
        with self._connected():
            for tensor in model.state_dict().values():
                dist.broadcast(tensor, 0)
        return model

    def join(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """From now on batch normalisation and the optimizer's steps are those of the whole batch: all processes train in step."""
        nn.SyncBatchNorm.convert_sync_batchnorm(model, self._gradients)  # replaces the layers inside the network
        optimizer.register_step_pre_hook(self._average)

    def _average(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        share = (self._part.stop - self._part.start) / self._n_images  # 0 for a process that only repeats an image
        gradients = [each.grad for group in optimizer.param_groups for each in group["params"] if each.grad is not None]
        with self._connected():
            for work in [dist.all_reduce(gradient.mul_(share), group=self._gradients, async_op=True) for gradient in gradients]:
                work.wait()

    def once(self, work: Callable[[], Any]) -> Any:
        """Do the work in process 0 alone. All processes return what the work returns, or raise what the work raises."""
        outcome = [None, None]
        if self.rank == 0:
            try:
                outcome[0] = work()
            except Exception as error:
                outcome[1] = error
        with self._connected():
            dist.broadcast_object_list(outcome, 0)
        if outcome[1]:
            raise outcome[1]
        return outcome[0]

    def batches(self, loader: Loader, keys: list) -> Iterator[Batch]:
        """This process's part of each batch of these keys. A key is an item of the data set (see :class:`CropDataset`)."""
        whole = [keys[start : start + self._batch_size] for start in range(0, len(keys), self._batch_size)]
        own = [key for batch in whole for key in batch[self._slice(len(batch))] or batch[:1]]
        for batch, part in zip(whole, loader.batches(own), strict=True):
            self._n_images, self._part = len(batch), self._slice(len(batch))
            yield part

    def _slice(self, n_images: int) -> slice:
        """The place of this process's images in a batch. The first processes take one image more if the division leaves a rest."""
        least, rest = divmod(n_images, self.count)
        start = self.rank * least + min(self.rank, rest)
        return slice(start, start + least + (self.rank < rest))

    def seed(self, *numbers: int) -> None:
        """Seed the random numbers of dropout. They follow from these numbers and the process, so they need no place in a checkpoint."""
        torch.manual_seed(int(np.random.SeedSequence([*numbers, self.rank]).generate_state(1)[0]))

    def gathered(self, results: torch.Tensor) -> torch.Tensor:
        """The results of the whole batch, (terms, N), from those of each process's images. The wish to stop travels with them."""
        whole = torch.zeros(len(results), self._n_images + 1, dtype=results.dtype)
        whole[:, self._part] = results[:, : self._part.stop - self._part.start]
        whole[0, -1] = self._stop
        with self._connected():
            dist.all_reduce(whole)
        self._agreed = bool(whole[0, -1])
        return whole[:, :-1]

    def agreed(self, stop: bool) -> bool:
        """Whether all processes stop after this batch: any of them wanted to, before the results of this batch were gathered."""
        self._stop = self._stop or stop
        return self._agreed

    @contextlib.contextmanager
    def _connected(self) -> Iterator[None]:
        """Turn the error of a broken connection into one that says who has ended."""
        try:
            yield
        except RuntimeError as error:
            raise Lost(f"{self._why()}; the other processes stop too, and the same command goes on after the last checkpoint") from error
