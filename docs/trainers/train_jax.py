"""Batches in JAX, on one or more hosts. Run it again to resume."""

import json
import os

import jax
import jax.numpy as jnp
from order import Batches, EpochOrder
from windows import Windows

STATE = "jax_batches.json"


@jax.jit
def brightness_inside(batch):
    image, inside = batch["img"].astype(jnp.float32) / 255, batch["target_pre"] != 0
    return (image * inside).sum() / jnp.maximum(inside.sum(), 1)


def save(state):
    """A run that is killed leaves the earlier state or this one."""
    with open(STATE + ".new", "w") as file:
        json.dump(state, file)
    os.replace(STATE + ".new", STATE)


def main():
    windows = Windows("shards/train.zarr", ["img", "target_pre"])
    order = EpochOrder(len(windows), seed=17, rank=jax.process_index(), world=jax.process_count())
    batches = Batches(windows, order, batch_size=4, drop_last=True)
    if os.path.exists(STATE):
        with open(STATE) as file:
            batches.load_state_dict(json.load(file))

    while batches.epoch < 2:
        for batch in batches:
            mean = brightness_inside(batch)
            if jax.process_index() == 0:    # beside the model's checkpoint
                save(batches.state_dict())
            print(batches.epoch, float(mean), jax.tree.map(jnp.shape, batch))


if __name__ == "__main__":
    main()
