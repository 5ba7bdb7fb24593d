"""Batches with grain, on one or more hosts, with a state that resumes, also with another number of hosts."""

import grain
import jax
from windows import Windows

windows = Windows("shards/train.zarr", ["img", "target_pre"])


def batches(global_batch_size=4, epochs=2, host=None, hosts=None):
    """grain divides and batches row numbers; `Windows` reads them. Each epoch has another order.

    `host` and `hosts` are by default those of JAX.
    """
    if host is None:
        host, hosts = jax.process_index(), jax.process_count()
    rows = grain.MapDataset.range(len(windows)).shuffle(seed=17).repeat(epochs)
    shards = grain.sharding.ShardOptions(shard_index=host, shard_count=hosts, drop_remainder=True)
    return iter(grain.experimental.ElasticIterator(rows, global_batch_size, shards).map(windows.__getitems__))


if __name__ == "__main__":
    first = batches()
    for _ in range(3):
        next(first)
    state = first.get_state()    # numbers: save it with the model

    resumed = batches()
    resumed.set_state(state)
    for batch in resumed:
        print(jax.tree.map(lambda values: values.shape, batch))
