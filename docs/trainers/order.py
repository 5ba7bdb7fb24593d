"""The order of samples, divided among ranks, and batches in that order. Both can resume in the middle of an epoch.

Needs numpy; torch only where it is installed.
"""

import zlib
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np

try:
    from torch import distributed
    from torch.utils.data import DistributedSampler
except ImportError:
    distributed, DistributedSampler = None, object


class EpochOrder(DistributedSampler):
    """The samples of one rank in one epoch after another: the `sampler` of a DataLoader or of `Batches`.

    `samples` is their number, or the row numbers to use. The order is a function of `seed` and epoch. Rank 0 takes the first of
    each `world` samples, rank 1 the second, ... So all ranks together are always at one position of the order. That position is
    the state. It is equal on all ranks, except that at the end of an epoch it may already be the start of the next. Any number
    of ranks can resume from it, with the samples that are left.

    By default rank and world are those of torch.distributed. `uneven` is for the end of an epoch, if the samples that are left
    are not a multiple of `world`: "repeat" gives some ranks samples from the start of the order again, "drop" omits them,
    "keep" gives some ranks one sample less, so they end the epoch one sample earlier.

    It is a DistributedSampler so that Lightning does not divide the samples among ranks again.
    """

    def __init__(self, samples, seed=0, shuffle=True, rank=None, world=None, uneven="repeat"):
        if uneven not in ("repeat", "drop", "keep"):
            raise ValueError(f'uneven is {uneven!r}, expected "repeat", "drop" or "keep"')
        if (rank is None) != (world is None) or (rank is not None and not 0 <= rank < world):
            raise ValueError(f"rank is {rank} and world is {world}, expected 0 <= rank < world, or neither")
        rows = np.asarray(samples)
        if rows.ndim > 1 or (rows.size and rows.dtype.kind not in "iu"):
            found = f"{rows.dtype} of shape {rows.shape}"
            raise ValueError(f"samples are {found}, expected their number or row numbers. For a mask use np.flatnonzero(mask)")
        self.rows = rows if rows.ndim else np.arange(samples)
        self.seed, self.shuffle, self.fixed, self.uneven = seed, shuffle, (rank, world), uneven
        self.epoch = self.passed = self.yielded = 0
        self.resumed = False
        # What the order of all epochs depends on: a state of another order cannot be loaded.
        crc32 = zlib.crc32(np.ascontiguousarray(self.rows, "<i8"))
        self.identity = {"samples": len(self.rows), "rows_crc32": crc32, "seed": seed, "shuffle": bool(shuffle)}

    def __iter__(self):
        if not self.resumed:
            self.passed = self.yielded = 0
        self.resumed = False
        rank, world = self.place()
        for row in self.left(world)[rank::world]:
            self.passed = min(self.passed + world, len(self.rows))
            self.yielded += 1
            yield int(row)
        self.set_epoch(self.epoch + 1)

    def left(self, world):
        """The samples of all ranks from the current position to the end of the epoch."""
        order = self.rows[shuffled(len(self.rows), self.seed, self.epoch)] if self.shuffle else self.rows
        left = order[self.passed :]
        if self.uneven == "repeat":
            return np.concatenate([left, np.resize(order, -len(left) % world)])
        return left[: len(left) - len(left) % world] if self.uneven == "drop" else left

    def __len__(self):
        """The number of samples of this rank in an epoch.

        In an epoch that was resumed on more ranks, those before the position and those after it are more, and count.
        """
        return max(self.share(len(self.rows)), self.yielded + self.share(len(self.rows) - self.passed))

    def share(self, samples):
        rank, world = self.place()
        each, extra = divmod(samples, world)
        return each + {"repeat": extra > 0, "drop": 0, "keep": rank < extra}[self.uneven]

    def place(self):
        if self.fixed[0] is not None:
            return self.fixed
        if distributed and distributed.is_available() and distributed.is_initialized():
            return distributed.get_rank(), distributed.get_world_size()
        return 0, 1

    def set_epoch(self, epoch):
        """Moves to the start of `epoch`. If it is the current epoch, nothing changes. The end of an epoch begins the next one."""
        if epoch != self.epoch:
            self.epoch, self.passed, self.yielded, self.resumed = epoch, 0, 0, False

    def state_dict(self):
        """The position after the last sample, as numbers."""
        return {**self.identity, "epoch": self.epoch, "passed": self.passed, "yielded": self.yielded}

    def start(self):
        """The state at which `iter` begins: the loaded one, or the start of the epoch."""
        return self.state_dict() if self.resumed else {**self.state_dict(), "passed": 0, "yielded": 0}

    def load_state_dict(self, state):
        for key, value in self.identity.items():
            if (found := state.get(key)) != value:
                raise ValueError(f"the state is of another order: its {key} is {found}, that of this order is {value}")
        self.epoch, self.passed, self.yielded, self.resumed = state["epoch"], state["passed"], state["yielded"], True


class Batches:
    """Batches of `windows`, in the order of `sampler`, without worker processes.

    `ahead` threads read as many batches while one is in use. `convert` changes a batch there, for example to tensors: with more
    than one thread it must be thread-safe. The state is the position after the last batch that was returned, not the last that
    was read.

    After a loop that was left before its last batch, the next loop begins the same epoch again. To continue where it was left,
    load its state; to begin another epoch, call `sampler.set_epoch`.
    """

    batch_sampler = None  # Lightning reads it, and calls `sampler.set_epoch`

    def __init__(self, windows, sampler, batch_size, drop_last=False, convert=None, ahead=1):
        self.windows, self.sampler, self.batch_size, self.drop_last = windows, sampler, batch_size, drop_last
        self.convert, self.ahead, self.position = convert or (lambda batch: batch), ahead, None

    def __len__(self):
        return (len(self.sampler) + (0 if self.drop_last else self.batch_size - 1)) // self.batch_size

    def __iter__(self):
        start = self.position = self.sampler.start()
        end = {**start, "epoch": start["epoch"] + 1, "passed": 0, "yielded": 0}
        rows, waiting = iter(self.sampler), deque()
        left = self.sampler.share(start["samples"] - start["passed"])
        if self.drop_last:
            left -= left % self.batch_size
        with ThreadPoolExecutor(max(1, self.ahead), "batches") as threads:
            try:
                while left or waiting:
                    while left and len(waiting) <= self.ahead:
                        chosen = list(islice(rows, min(left, self.batch_size)))
                        left -= len(chosen)
                        # A shorter batch is the last one of every rank, also of ranks with one sample more (`uneven="keep"`).
                        position = self.sampler.state_dict() if len(chosen) == self.batch_size else end
                        waiting.append((threads.submit(self.read, chosen), position))
                    batch = self.first(waiting)
                    if not left and not waiting:
                        self.sampler.set_epoch(end["epoch"])  # not before the last batch: `rows` is read ahead
                    yield batch
            finally:
                for reading, _ in waiting:
                    reading.cancel()
        self.sampler.set_epoch(end["epoch"])  # also if no batch was left
        self.position = None

    @property
    def epoch(self):
        """The epoch of the position. With the last batch, `sampler` is already in the next one."""
        return self.state_dict()["epoch"]

    def read(self, rows):
        return self.convert(self.windows.__getitems__(rows))

    def first(self, waiting):
        reading, position = waiting.popleft()
        batch = reading.result()
        self.position = position
        return batch

    def state_dict(self):
        return dict(self.position or self.sampler.state_dict())

    def load_state_dict(self, state):
        self.position = None
        self.sampler.load_state_dict(state)


def shuffled(count, seed, epoch):
    """A permutation of `count` numbers: they are sorted by a hash (splitmix64). It is the same in every version of numpy."""
    key = mix(mix(np.array([seed % 2**64], np.uint64)) + np.uint64(epoch))
    return np.argsort(mix(key + np.arange(count, dtype=np.uint64)), kind="stable")


def mix(x):
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
