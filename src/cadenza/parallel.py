"""Several processes that train one model, one for each device, as torchrun starts them.

`together` joins them: gloo carries what lies in main memory, NCCL the gradients of GPUs, which DistributedDataParallel
(Li et al., 2020) adds up while they are still being computed. Without torchrun there is one process, and nothing here
does anything. The processes must see the same run folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from cadenza.errors import CadenzaError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor, nn

PATIENCE = timedelta(days=30)
"""How long processes wait for the first, which reads a whole corpus before training begins."""
STORE_PATIENCE = timedelta(seconds=10)


@dataclass(frozen=True)
class Group:
    """The processes of one training, `rank` being the number of this one; a group without a `channel` talks to nobody."""

    rank: int = 0
    world: int = 1
    channel: Any = None

    @property
    def share(self) -> slice:
        """Which of a sequence's items are this process's: one in `world`."""
        return slice(self.rank, None, self.world)

    def sum(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The sums over all processes, the same in each; every process must ask at the same point."""
        if self.channel is None:
            return values
        import torch

        return self._added(torch.from_numpy(values.copy())).numpy()

    def anyone(self, flag: bool) -> bool:
        """Whether the flag is set in any process; whoever asks waits for all others to ask."""
        if self.channel is None:
            return flag
        import torch

        return bool(self._added(torch.tensor([float(flag)])))

    def _added(self, tensor: Tensor) -> Tensor:
        from torch import distributed

        distributed.all_reduce(tensor, group=self.channel)
        return tensor

    def data_parallel(self, module: nn.Module) -> nn.Module:
        """The module with gradients that are the mean over all processes."""
        if self.channel is None:
            return module
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(module)

    def held_back(self, module: nn.Module) -> AbstractContextManager[None]:
        """Where gradients stay in this process, to be added to those that follow."""
        return nullcontext() if self.channel is None else module.no_sync()  # type: ignore[operator]


ALONE = Group()


def launched() -> bool:
    """Whether torchrun has started this process among others."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ["WORLD_SIZE"]) > 1


def outline() -> Group:
    """Rank and number of the processes as they were started, without a way to talk."""
    return Group(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])) if launched() else ALONE


@contextmanager
def together(device: str) -> Iterator[Group]:
    """All processes that torchrun has started, joined to train on the named kind of device.

    A process without a device of its own raises `CadenzaError`, and so does the loss of another process.
    """
    if not launched():
        yield ALONE
        return
    import torch
    from torch import distributed

    from cadenza.models import device as device_of

    where, local = device_of(device), int(os.environ["LOCAL_RANK"])
    if where.type == "cuda":
        if local >= (there := torch.cuda.device_count()):
            raise CadenzaError(
                f"Process {local + 1} of this machine finds no GPU, there being {there}; start as many with torchrun --nproc-per-node {there}."
            )
        torch.cuda.set_device(local)
    elif where.type != "cpu":
        raise CadenzaError(f"Several processes cannot share {where.type}; start cadenza without torchrun.")
    try:
        distributed.init_process_group("cpu:gloo,cuda:nccl" if where.type == "cuda" else "gloo")
        known = outline()
        yield Group(known.rank, known.world, distributed.new_group(timeout=PATIENCE, backend="gloo"))
    except RuntimeError as error:
        if not lost(error):
            raise
        raise CadenzaError(
            "Another process of this training has ended without a word, perhaps for want of memory; all have stopped. Go on from the last saved state with the same command and --resume."
        ) from None
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


def lost(error: RuntimeError) -> bool:
    """Whether an error says that a process cannot be reached; gloo has no type of its own for that."""
    from torch import distributed

    return isinstance(error, distributed.DistError) or "gloo" in str(error)


def first_to_speak() -> bool:
    """Whether no other process has said yet why all of them end; the one that asks first is to say it."""
    if not launched():
        return True
    from torch import distributed

    try:
        store = distributed.TCPStore(  # type: ignore[attr-defined]
            os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False, timeout=STORE_PATIENCE
        )
        return store.add(f"cadenza/said/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '')}", 1) == 1
    except RuntimeError:  # the store has ended with its process
        return outline().rank == 0
