"""Several processes that train one model together: data parallel, each on its own windows of every batch.

Small models gain from it on one machine as well: two processes of one thread each do nearly twice the work of one, where
two threads that meet after every small product gain little (NOTEBOOK.md).

Processes come from `torchrun` (one or many machines), or from here: `train.processes` of the recipe starts them on this
machine. They meet through torch.distributed: NCCL on GPUs, Gloo elsewhere.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor

from tony.errors import TonyError

PR_SET_PDEATHSIG = 1


@contextmanager
def _others_alive() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise TonyError(
            f"a training process has died ({str(error).splitlines()[0]}); is there enough memory? "
            "The same command goes on from the last checkpoint"
        ) from None


@dataclass(frozen=True)
class Group:
    """Which of how many processes this one is."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes what the group has to tell."""
        return self.rank == 0

    def sum(self, values: Tensor) -> None:
        """Add up `values` of all processes, in place; each then holds the same bits.

        Raises:
            TonyError: another process has died.
        """
        if self.size == 1:
            return
        with _others_alive():
            dist.all_reduce(values)

    def hand_on(self, rank: int, tensors: Sequence[Tensor]) -> None:
        """All processes get the values that `tensors` have in process `rank`."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([t.detach().reshape(-1) for t in tensors])
        with _others_alive():
            dist.broadcast(flat, rank)
        if self.rank != rank:
            for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
                tensor.detach().copy_(part.view_as(tensor))

    def wait(self) -> None:
        """Until all processes have come here."""
        self.sum(torch.zeros(1))

    def mean_gradients(self, parameters: Sequence[Tensor], weight: float, figures: Tensor) -> None:
        """Gradients become the mean over processes, each with its `weight`; `figures` float64 (n,) are added up.

        Everything travels in one buffer, so that a step waits once.
        """
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.reshape(-1) for g in gradients]).mul_(weight)
        extra = torch.cat([figures.new_tensor([weight]), figures]).to(flat)
        buffer = torch.cat([flat, extra])
        self.sum(buffer)
        total = buffer[flat.numel() :].double()
        figures.copy_(total[1:])
        mean = buffer[: flat.numel()].div_(total[0].clamp_min(1e-30))
        for gradient, part in zip(gradients, mean.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))


@contextmanager
def launched_group(device: torch.device) -> Iterator[Group]:
    """The group that torchrun started this process in; a group of one where it did not."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield Group()
        return
    if device.type == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Group(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()


@contextmanager
def helped(group: Group, processes: int, work: Callable[[Group], None]) -> Iterator[Group]:
    """A lone process becomes the first of `processes` on this machine; the others run `work(group)`.

    `work` must be picklable. The helpers end with this process, however it ends.
    """
    if group.size > 1 or processes == 1:
        yield group
        return
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder) / "store")
        helpers = [
            context.Process(target=_help, args=(Group(rank, processes), store, work), daemon=True)
            for rank in range(1, processes)
        ]
        for helper in helpers:
            helper.start()
        try:
            _join(Group(0, processes), store)
            yield Group(0, processes)
            for helper in helpers:
                helper.join()
        finally:
            for helper in helpers:
                helper.kill()
            if dist.is_initialized():
                dist.destroy_process_group()


def _join(group: Group, store: str) -> None:
    # They are all on this machine, whatever its name resolves to.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group(
        "gloo", store=dist.FileStore(store, group.size), rank=group.rank, world_size=group.size
    )


def _help(group: Group, store: str, work: Callable[[Group], None]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process hears of Ctrl-C and tells the others
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    _join(group, store)
    work(group)
    dist.destroy_process_group()
