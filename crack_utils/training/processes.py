"""Start or join the processes of a training by many."""

import contextlib
import dataclasses
import functools
import itertools
import multiprocessing
import os
import sys
from multiprocessing.connection import wait
from types import TracebackType
from typing import Self

import torch
import torch.distributed as dist

from crack_utils.config import RunParameters, launched_processes
from crack_utils.data import find_data
from crack_utils.errors import Interrupted, ParameterError
from crack_utils.networks import computing, resolve_device
from crack_utils.store import Unwritten, image_cache, sample_folder
from crack_utils.training.log import Watcher
from crack_utils.training.loop import Training
from crack_utils.training.ranks import Alone, Group, Lost
from crack_utils.training.signals import StopSignals
from crack_utils.training.step import Parts

HOST = "127.0.0.1"  # processes that this program starts are on its machine
FAREWELL_S = 10  # a process that has finished or lost the others takes less time to end

_trainings = itertools.count()


@dataclasses.dataclass(frozen=True)
class Place:
    """The place of this process among the ``count`` processes of a training, and among the ``local_count`` of its machine."""

    rank: int
    count: int
    local_rank: int
    local_count: int

    def device(self, params: RunParameters) -> torch.device:
        """The device of this process: the CPU, or a GPU of its own. Raise ParameterError if there are too few GPUs."""
        device = resolve_device(params.device)
        if self.count == 1 or device.type == "cpu":
            return device
        if device.type == "mps" or device.index is not None:
            raise ParameterError(f"device: {device} is one device, and each of {self.count} processes needs its own; say cuda or cpu")
        if (gpus := torch.cuda.device_count()) < self.local_count:
            raise ParameterError(f"processes: {self.local_count} processes need a GPU each, and this machine has {gpus}; start {gpus}")
        torch.cuda.set_device(self.local_rank)
        return torch.device("cuda", self.local_rank) if self.local_rank else device


def find_place(params: RunParameters) -> Place:
    """The place that torchrun has given to this process, or else the first one. Raise ParameterError if it contradicts the parameters."""
    launched = launched_processes()
    if launched == 1:
        return Place(0, params.processes, 0, params.processes)
    if params.processes not in (1, launched):
        raise ParameterError(f"processes {params.processes}: torchrun has started {launched}; leave out this parameter")
    if launched > params.batch_size:
        raise ParameterError(f"batch_size {params.batch_size}: {launched} processes share a batch of at least {launched} images")
    return Place(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")))


class Team:
    """The processes of a training, as process 0 sees them: this one alone, those of torchrun, or those that :meth:`start` starts here.

    The block ends with the end of all processes that it started.
    """

    def __init__(self, params: RunParameters, place: Place, parts: Parts | None):
        self._params, self.place, self._is_launched = params, place, launched_processes() > 1
        if parts and place.count > 1 and not self._is_launched:
            raise ParameterError("processes: new processes cannot take over the parts of this training; start the program with torchrun")
        self._children, self._group = [], None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._is_launched and not (self._group or kind):
            self._join(self.place.device(self._params))  # the others wait for a training, but there is none
            self._group.once(lambda: None)
        if self._group:
            dist.destroy_process_group()
        for child in self._children:
            child.join(0 if kind else FAREWELL_S)
            child.kill()
            child.join()

    def start(self, run_name: str, device: torch.device, precision: str) -> Alone | Group:
        """Begin a training: the other processes read the data, and then train too."""
        if self.place.count == 1:
            return Alone()
        self._join(device)
        self._group.once(lambda: (run_name, torch.get_num_threads(), precision))
        return self._group

    def _join(self, device: torch.device) -> None:
        self._store = _launched_store() if self._is_launched else self._start_children()
        self._group = Group(self._store, 0, self.place.count, self._params.batch_size, device, self._why)

    def _start_children(self) -> dist.Store:
        self._store = dist.TCPStore(HOST, 0, is_master=True, wait_for_workers=False)
        context = multiprocessing.get_context("spawn")  # a fork would share the threads and the GPU of this process
        for rank in range(1, self.place.count):
            self._children.append(context.Process(target=_run_child, args=(self._params, rank, self._store.port)))
            self._children[-1].start()
        while self._store.add("ready", 0) < len(self._children):
            if wait([child.sentinel for child in self._children], 0.1):
                raise Lost(self._why())
        return self._store

    def _why(self) -> str:
        """Why another process has ended."""
        if self._children:
            wait([child.sentinel for child in self._children], FAREWELL_S)
            if self._store.check(["why"]):
                return self._store.get("why").decode()
        for rank, child in enumerate(self._children, start=1):
            if child.exitcode:
                return f"process {rank} of the training ended with status {child.exitcode}" + " (killed)" * (child.exitcode < 0)
        return "another process of the training has ended"


def help_launched(params: RunParameters, parts: Parts, place: Place) -> None:
    """Help process 0 to train, as a process that torchrun has started."""
    _help(params, parts, place, _launched_store())


def _launched_store() -> dist.Store:
    """Where the processes of torchrun meet. A program may train several times."""
    return dist.PrefixStore(f"training {next(_trainings)}", next(dist.rendezvous("env://"))[0])


def _run_child(params: RunParameters, rank: int, port: int) -> None:
    """What a process does that process 0 has started."""
    store = dist.TCPStore(HOST, port)
    store.add("ready", 1)
    try:
        with contextlib.suppress(Lost):  # process 0 says who has ended, or is gone
            _help(params, Parts(), Place(rank, params.processes, rank, params.processes), store)
    except Exception as error:
        store.set("why", f"process {rank} of the training ended with {type(error).__name__}: {error}")
        sys.exit(1)


def _help(params: RunParameters, parts: Parts, place: Place, store: dist.Store) -> None:
    """Train along with process 0, which alone measures, validates and writes files. Its weights replace those of this process."""
    build_model = functools.partial(parts.build_model, fresh=False)
    parts = dataclasses.replace(parts, build_model=build_model, measure=lambda *_: (0.0, 0.0))
    device = place.device(params)
    with StopSignals() as signals:
        group = Group(store, place.rank, place.count, params.batch_size, device, lambda: "another process of the training has ended")
        try:
            if plan := group.once(lambda: None):
                run_name, threads, precision = plan
                with (
                    computing(device, threads, precision, place.local_count),
                    contextlib.suppress(Interrupted),
                ):  # process 0 tells it
                    data = find_data(params, sample_folder(), image_cache())
                    Training(Unwritten(run_name), params, data, device, Watcher(), parts, signals, group, precision).fit()
        finally:
            dist.destroy_process_group()
