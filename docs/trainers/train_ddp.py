"""Training on one or more GPUs, or on CPUs: `torchrun --standalone --nproc-per-node 2 train_ddp.py`.

Run it again to resume, also with another number of processes: the epoch continues with the samples that are left.
"""

import argparse
import os

import torch
import torch.distributed as dist
from order import Batches, EpochOrder
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import default_convert
from windows import Windows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", default="shards/train.zarr")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--steps", type=int, default=1_000_000, help="stop after this many steps, for jobs with a time limit")
    parser.add_argument("--checkpoint", default="checkpoint.pt")
    args = parser.parse_args()
    gpu = torch.cuda.is_available()
    dist.init_process_group("nccl" if gpu else "gloo")
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if gpu else torch.device("cpu")
    if gpu:
        torch.cuda.set_device(device)

    windows = Windows(args.split, ["img", "target_pre"])
    batches = Batches(windows, EpochOrder(len(windows), seed=17), batch_size=2, convert=default_convert)
    model = DistributedDataParallel(torch.nn.Conv3d(1, 1, 3, padding=1).to(device))
    optimizer = torch.optim.AdamW(model.parameters())
    if os.path.exists(args.checkpoint):
        saved = torch.load(args.checkpoint, map_location=device)
        model.module.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        batches.load_state_dict(saved["batches"])

    steps = samples = 0
    while batches.epoch < args.epochs and steps < args.steps:
        for batch in batches:
            image, target = batch["img"].to(device).float() / 255, (batch["target_pre"].to(device) != 0).float()
            loss = torch.nn.functional.binary_cross_entropy_with_logits(model(image), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps, samples = steps + 1, samples + len(image)
            if steps == args.steps:
                break
    if dist.get_rank() == 0:    # in a long training, also every few minutes
        state = {"model": model.module.state_dict(), "optimizer": optimizer.state_dict(), "batches": batches.state_dict()}
        torch.save(state, args.checkpoint + ".new")
        os.replace(args.checkpoint + ".new", args.checkpoint)    # a run that is killed leaves the earlier checkpoint or this one
    print(f"rank {dist.get_rank()} of {dist.get_world_size()}: {samples} samples in {steps} steps")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
