"""The order of samples and the batches of docs/trainers/order.py: every sample once, the same order always, and resume on any number of ranks."""

import itertools
import json
import math
import threading
from collections import Counter

import numpy as np
import pytest
from order import Batches, EpochOrder, shuffled

UNEVEN = ("repeat", "drop", "keep")
GOLDEN = [[0, 5, 2, 3, 7, 4, 6, 1], [5, 2, 4, 1, 6, 0, 7, 3], [2, 4, 6, 7, 3, 5, 0, 1]]


class Rows:
    """Stands for a dataset: a sample is its row number. Counts what is read."""

    def __init__(self, count):
        self.count, self.read = count, []

    def __len__(self):
        return self.count

    def __getitems__(self, rows):
        self.read.append(list(rows))
        return {"row": np.array(rows)}


def take(order, batch_size, batches):
    """The rows of the first batches of an epoch, and the state after them."""
    rows, state = list(itertools.islice(iter(order), batch_size * batches)), order.state_dict()
    return rows, json.loads(json.dumps(state))


def ranks(count, world, state=None, **options):
    orders = [EpochOrder(count, rank=rank, world=world, **options) for rank in range(world)]
    for order in orders if state else ():
        order.load_state_dict(state)
    return orders


@pytest.mark.parametrize("count", [1, 2, 3, 10, 1000])
def test_a_shuffled_order_is_a_permutation_that_depends_on_seed_and_epoch_only(count):
    orders = {(seed, epoch): shuffled(count, seed, epoch) for seed in range(4) for epoch in range(4)}
    for (seed, epoch), order in orders.items():
        assert sorted(order) == list(range(count))
        np.testing.assert_array_equal(order, shuffled(count, seed, epoch))
    if count >= 10:
        assert len({tuple(order) for order in orders.values()}) == len(orders)


def test_the_shuffled_order_never_changes_between_versions():
    """A checkpoint must resume with the order that it was saved with."""
    assert shuffled(8, 17, 0).tolist() == GOLDEN[0]
    assert shuffled(8, 17, 1).tolist() == GOLDEN[1]
    assert shuffled(8, -1, 2**40).tolist() == GOLDEN[2]


def test_every_sample_is_equally_likely_at_every_position():
    count, trials = 6, 6000
    found = np.zeros((count, count))
    for epoch in range(trials):
        found[np.arange(count), shuffled(count, 3, epoch)] += 1
    expected = trials / count
    # 25 degrees of freedom: 1 in 10,000 permutations of chance is above 60. The order is fixed, so this never flickers.
    assert ((found - expected) ** 2 / expected).sum() < 60
    pairs = Counter(tuple(shuffled(count, seed, 0)[:2]) for seed in range(trials))
    assert len(pairs) == count * (count - 1) and max(pairs.values()) < 2 * min(pairs.values())


@pytest.mark.parametrize("uneven", UNEVEN)
def test_ranks_divide_an_epoch(uneven):
    for count, world, epoch in itertools.product(range(1, 12), range(1, 6), (0, 3)):
        orders = ranks(count, world, seed=5, uneven=uneven)
        for order in orders:
            order.set_epoch(epoch)
        lengths = [len(order) for order in orders]
        rows = [list(order) for order in orders]
        assert lengths == [len(r) for r in rows]
        assert {order.epoch for order in orders} == {epoch + 1}, "each epoch begins the next"
        seen = Counter(row for r in rows for row in r)
        extra = -count % world
        if uneven == "keep":
            assert seen == Counter(range(count)) and max(lengths) - min(lengths) <= 1
        elif uneven == "drop":
            assert set(lengths) == {count // world} and max(seen.values(), default=1) == 1
        else:
            assert set(lengths) == {math.ceil(count / world)} and set(seen) == set(range(count))
            assert sum(seen.values()) == count + extra
        # At each step, all ranks together are at one position of the order.
        merged = [row for step in itertools.zip_longest(*rows) for row in step if row is not None]
        order = shuffled(count, 5, epoch).tolist()
        n = min(len(merged), count)
        assert merged[:n] == order[:n]


@pytest.mark.parametrize("uneven", UNEVEN)
def test_any_number_of_ranks_resumes_with_exactly_the_samples_that_are_left(uneven):
    """All dataset sizes, numbers of ranks before and after (twice), batch sizes and positions of a small range."""
    for count, before, after, last in itertools.product((1, 5, 8, 13), (1, 2, 3), (1, 2, 4), (1, 3)):
        for size, steps, more in itertools.product((1, 2), range(4), (0, 1)):
            options = {"seed": 9, "uneven": uneven}
            first = [take(order, size, steps) for order in ranks(count, before, **options)]
            states = [state for _, state in first]
            if any(state["epoch"] for state in states):
                continue    # the epoch ended
            assert len({state["passed"] for state in states}) == 1, "all ranks have the same position"
            second = [take(order, size, more) for order in ranks(count, after, states[0], **options)]
            if second[0][1]["epoch"]:
                continue
            third = [list(order) for order in ranks(count, last, second[0][1], **options)]
            seen = Counter(itertools.chain(*(rows for rows, _ in first), *(rows for rows, _ in second), *third))
            where = (count, before, after, last, size, steps, more)
            if uneven == "keep":
                assert seen == Counter(range(count)), where
            elif uneven == "drop":
                assert max(seen.values(), default=1) == 1 and sum(seen.values()) > count - max(before, after, last), where
            else:
                assert set(seen) == set(range(count)), where
                assert sum(seen.values()) - count < max(before, after, last), where
                assert len({len(rows) for rows in third}) == 1, where


def test_a_resumed_order_of_the_same_ranks_continues_as_if_it_had_not_stopped():
    for count, world, stop in itertools.product((7, 12), (1, 2, 3), range(5)):
        whole = [[list(order) for _ in range(3)] for order in ranks(count, world, seed=1)]
        for rank, order in enumerate(ranks(count, world, seed=1)):
            rows, state = take(order, 1, stop)
            (resumed,) = [o for o in ranks(count, world, state, seed=1) if o.fixed == (rank, world)]
            assert len(resumed) == len(whole[rank][0]), "the length counts what was before the position"
            if state["epoch"]:
                assert [list(resumed) for _ in range(2)] == whole[rank][1:]
            else:
                assert [rows + list(resumed), list(resumed), list(resumed)] == whole[rank]


def test_an_epoch_that_was_left_starts_again_without_a_state():
    order = EpochOrder(10, seed=2)
    first, _ = take(order, 1, 4)
    assert list(order)[:4] == first and order.epoch == 1


def test_the_epoch_can_be_set_and_setting_the_current_one_changes_nothing():
    order = EpochOrder(10, seed=2)
    take(order, 1, 4)
    state = order.state_dict()
    order.load_state_dict(state)
    order.set_epoch(0)    # Lightning does this after it loads a state
    assert order.state_dict() == state and len(list(order)) == 6
    order.load_state_dict(state)
    order.set_epoch(4)
    assert list(order) == shuffled(10, 2, 4).tolist()


def test_chosen_rows_are_divided_like_all_rows():
    chosen = [3, 50, 7, 21, 8]
    assert sorted(itertools.chain(*(list(o) for o in ranks(chosen, 2, uneven="keep")))) == sorted(chosen)
    assert list(EpochOrder(chosen, shuffle=False)) == chosen


def test_a_mask_and_numbers_that_are_not_rows_are_errors():
    mask = np.array([True, False, True])
    for samples in (mask, mask.tolist(), True, np.array([0.0, 2.0]), 10.5, [[0, 1]], "12", None):
        with pytest.raises(ValueError, match=r"expected their number or row numbers. For a mask use np.flatnonzero\(mask\)"):
            EpochOrder(samples)
    for samples in (np.flatnonzero(mask), [0, 2], np.array([0, 2], "u1"), range(0, 3, 2)):
        assert sorted(EpochOrder(samples)) == [0, 2]
    assert list(EpochOrder([])) == list(EpochOrder(0)) == []
    assert len(EpochOrder(np.int64(3))) == 3


def test_a_state_of_another_order_and_wrong_ranks_are_errors():
    state = json.loads(json.dumps(EpochOrder(10, seed=2).state_dict()))
    for samples in (range(10), np.arange(10, dtype="u1"), np.arange(20, dtype=">i4")[:10]):
        EpochOrder(samples, seed=2).load_state_dict(state)    # the same rows
    for other, expected in (
        (EpochOrder(11, seed=2), "its samples is 10, that of this order is 11"),
        (EpochOrder(10, seed=3), "its seed is 2, that of this order is 3"),
        (EpochOrder(10, seed=2, shuffle=False), "its shuffle is True, that of this order is False"),
        (EpochOrder(np.arange(10) + 1, seed=2), r"its rows_crc32 is \d+, that of this order is \d+"),
        (EpochOrder(range(9, -1, -1), seed=2), r"its rows_crc32 is \d+, that of this order is \d+"),
    ):
        before = other.state_dict()
        with pytest.raises(ValueError, match=f"the state is of another order: {expected}"):
            other.load_state_dict(state)
        assert other.state_dict() == before
    with pytest.raises(ValueError, match="its samples is None"):
        EpochOrder(10).load_state_dict({"epoch": 3})
    for options in ({"rank": 1}, {"world": 2}, {"rank": 2, "world": 2}, {"rank": -1, "world": 2}, {"uneven": "pad"}):
        with pytest.raises(ValueError, match="expected"):
            EpochOrder(10, **options)


@pytest.mark.parametrize("ahead", [0, 1, 3])
@pytest.mark.parametrize("drop_last", [True, False])
def test_batches_have_the_rows_of_the_order(ahead, drop_last):
    for count, size in itertools.product((1, 4, 9), (1, 2, 4)):
        batches = Batches(Rows(count), EpochOrder(count, seed=3), size, drop_last=drop_last, ahead=ahead)
        for epoch in range(2):
            assert batches.epoch == epoch
            found = [batch["row"].tolist() for batch in batches]
            order = shuffled(count, 3, epoch).tolist()
            wanted = [order[i : i + size] for i in range(0, count, size)]
            assert found == [rows for rows in wanted if len(rows) == size or not drop_last]
            assert len(found) == len(batches)


@pytest.mark.parametrize("ahead", [0, 1, 3])
@pytest.mark.parametrize("drop_last", [True, False])
def test_a_loop_that_is_left_begins_its_epoch_again_whatever_was_read_ahead(ahead, drop_last):
    """As with PyTorch's DistributedSampler. After the last batch, the next epoch begins. `set_epoch` takes precedence."""
    for count, size, used, given in itertools.product((9, 12), (2, 3), range(8), (None, 0, 1, 5)):
        order = EpochOrder(count, seed=3)
        batches = Batches(Rows(count), order, size, drop_last=drop_last, ahead=ahead)
        for _ in zip(range(used), batches):    # ends without another request to `batches`
            pass
        if given is not None:
            order.set_epoch(given)
        epoch = given if given is not None else int(used >= len(batches))
        rows = shuffled(count, 3, epoch).tolist()
        found = [row for batch in batches for row in batch["row"].tolist()]
        assert found == rows[: len(batches) * size], (count, size, used, given)
        assert batches.epoch == epoch + 1


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_batches_resume_after_the_last_batch_that_was_used_on_any_number_of_ranks(ahead):
    for count, size, stop, before, after in itertools.product((9, 16), (2, 3), range(4), (1, 2), (1, 2, 3)):

        def batches(rank, world, state=None):
            made = Batches(Rows(count), EpochOrder(count, seed=3, rank=rank, world=world, uneven="keep"), size, ahead=ahead)
            if state:
                made.load_state_dict(state)
            return made

        seen, states = [], []
        for rank in range(before):
            loader = batches(rank, before)
            for _, batch in zip(range(stop), loader):
                seen += batch["row"].tolist()
            states.append(json.loads(json.dumps(loader.state_dict())))
        rows = [shuffled(count, 3, epoch).tolist() for epoch in range(2)]
        passed = min(stop * size * before, count)
        assert sorted(seen) == sorted(rows[0][:passed])
        positions = {(state["epoch"], state["passed"]) for state in states}
        assert positions <= {(0, passed)} | ({(1, 0)} if passed == count else set()), "read-ahead does not count"
        for state, rank in itertools.product(states, range(after)):
            loader = batches(rank, after, state)
            assert loader.state_dict() == state
            for epoch in range(state["epoch"], 2):
                assert loader.epoch == epoch
                wanted = rows[epoch][state["passed"] if epoch == state["epoch"] else 0 :][rank::after]
                found = [batch["row"].tolist() for batch in loader]
                assert found == [wanted[i : i + size] for i in range(0, len(wanted), size)], (count, size, stop, before, after)
            assert loader.epoch == 2


@pytest.mark.parametrize("ahead", [0, 1, 3])
@pytest.mark.parametrize("loaded", [0, 2, 6, 8], ids="{} batches before".format)
def test_after_an_error_the_state_is_that_of_the_last_batch_that_was_used(ahead, loaded):
    """Also if no batch was used since the state was loaded, or since the epoch began."""
    order = [shuffled(12, 3, epoch).reshape(6, 2).tolist() for epoch in range(2)]

    class Broken(Rows):
        def __getitems__(self, rows):
            if rows == order[broken // 6][broken % 6]:
                raise OSError("no answer")
            return super().__getitems__(rows)

    for broken in range(loaded, 12):
        batches = Batches(Broken(12), EpochOrder(12, seed=3), 2, ahead=ahead)
        start = {**batches.state_dict(), "epoch": loaded // 6, "passed": loaded % 6 * 2, "yielded": loaded % 6 * 2}
        batches.load_state_dict(start)
        used = 0
        with pytest.raises(OSError, match="no answer"):
            while True:
                for _ in batches:
                    used += 1
        assert used == broken - loaded
        passed = broken % 6 * 2
        assert batches.state_dict() == {**start, "epoch": broken // 6, "passed": passed, "yielded": passed}


def test_the_length_of_resumed_batches_counts_those_before_if_they_are_more_than_an_epoch_has():
    for before, after in itertools.product((1, 2, 4), (1, 2, 4)):
        loader = Batches(Rows(32), EpochOrder(32, rank=0, world=before), 2)
        for _ in zip(range(3), loader):
            pass
        resumed = Batches(Rows(32), EpochOrder(32, rank=0, world=after), 2)
        resumed.load_state_dict(loader.state_dict())
        length, whole = len(resumed), -(-32 // (2 * after))
        assert max(3 + sum(1 for _ in resumed), whole) == length and len(resumed) == whole


def test_a_thread_reads_the_next_batch_while_one_is_in_use():
    rows = Rows(20)
    read = threading.Event()
    rows_of = rows.__getitems__
    main = threading.current_thread()

    def watched(chosen):
        assert threading.current_thread() is not main
        if len(rows.read) == 1:
            read.set()
        return rows_of(chosen)

    rows.__getitems__ = watched
    batches = iter(Batches(rows, EpochOrder(20), 2, ahead=1))
    next(batches)
    assert read.wait(20), "the second batch is read although only the first was requested"
    batches.close()
    assert len(rows.read) <= 3, "a loop that ends early reads no more"


def test_batches_are_read_at_the_same_time_and_keep_their_order():
    second = threading.Event()

    class FirstWaits(Rows):
        def __getitems__(self, rows):
            if rows == [0, 1]:
                assert second.wait(20), "the second batch is not read while the first is"
            if rows == [2, 3]:
                second.set()
            return super().__getitems__(rows)

    found = [batch["row"].tolist() for batch in Batches(FirstWaits(8), EpochOrder(8, shuffle=False), 2, ahead=2)]
    assert found == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_an_error_while_reading_reaches_the_loop():
    class Broken(Rows):
        def __getitems__(self, rows):
            raise ValueError("shard 3 is damaged")

    with pytest.raises(ValueError, match="shard 3 is damaged"):
        list(Batches(Broken(4), EpochOrder(4), 2))


def test_convert_changes_every_batch():
    found = [*Batches(Rows(4), EpochOrder(4, shuffle=False), 2, convert=lambda batch: batch["row"] * 10)]
    assert [f.tolist() for f in found] == [[0, 10], [20, 30]]
