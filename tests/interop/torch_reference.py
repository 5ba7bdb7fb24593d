"""The two-channel regime in PyTorch, written from its rules, as a reference for `pointshard train`.

The network is the one in docs/train.md.
"""

import json

import torch
from document_blocks import blocks
from program import REPOSITORY
from torch.nn.functional import binary_cross_entropy_with_logits


def unet(model):
    """The network of a config's `model`, from docs/train.md."""
    shown = [b for b in blocks(REPOSITORY / "docs/train.md") if "class UNet3D" in b.text]
    names = {"__name__": "docs"}
    exec(shown[0].text, names)
    return names["UNet3D"](model)


def channel_loss(logits, target, mask, config):
    """Loss of one channel; all tensors are of one shape."""
    loss = binary_cross_entropy_with_logits(logits, target, reduction="none")
    balance, clip = config.get("balance"), config.get("balance_clip", 0.1)
    weights = mask
    if balance in ("default", "frequency") or isinstance(balance, dict):
        # The rules of zetta_utils' binary regime: sums of mask weights, and 1 is added to the sum of both.
        n1, n0 = (mask * target).sum().item(), (mask * (1 - target)).sum().item()
        f1, f0 = (min(max(n / (n1 + n0 + 1), clip), 1 - clip) for n in (n1, n0))
        if balance == "default":
            of_ones, of_zeros = 2 * f0, 2 * f1
        elif balance == "frequency":
            of_ones, of_zeros = 0.5 / f1, 0.5 / f0
        else:
            of_ones, of_zeros = balance["ones"], balance["zeros"]
        weights = mask * torch.where(target == 1, of_ones, of_zeros)
        loss = loss * torch.where(target == 1, of_ones, of_zeros)
    elif balance:
        counted = mask != 0
        ones, zeros = (target[counted] == 1).sum().item(), (target[counted] == 0).sum().item()
        share = ones / max(ones + zeros, 1)
        of_ones, of_zeros = (min(max(s, clip), 1 - clip) for s in (1 - share, share))
        loss = loss * torch.where(target == 1, of_ones, of_zeros)
    total = (loss * mask).sum()
    if config.get("reduction", "mean") == "sum":
        return total
    return total / max((weights != 0).sum().item(), mask.numel() * config.get("mean_reduction_clip", 0.1))


def two_channel_loss(logits, image, targets, masks, config):
    """The combined loss, and that of each channel. `config` is the `loss` of a training's config."""
    masks = torch.ones_like(logits) if masks is None else masks.clone()
    for axis, pad in zip((4, 3, 2), config.get("crop_pad", [0, 0, 0])):
        if pad:
            masks.narrow(axis, 0, pad).zero_()
            masks.narrow(axis, masks.shape[axis] - pad, pad).zero_()
    if config.get("mask_on_zeros"):
        masks = masks * (image != 0)
    channels = [channel_loss(logits[:, c], targets[:, c], masks[:, c], config) for c in range(logits.shape[1])]
    weights = config.get("channel_weights")
    if weights is None:
        return sum(channels), channels
    return sum(w * c for w, c in zip(weights, channels)) / sum(weights), channels


def optimizer(weights, config):
    """The optimizer of a training's config."""
    options = {"lr": config["lr"], "betas": tuple(config.get("betas", (0.9, 0.999))), "eps": config.get("eps", 1e-8)}
    if "weight_decay" in config:
        options["weight_decay"] = config["weight_decay"]
    if config.get("decoupled_weight_decay"):
        options["decoupled_weight_decay"] = True
    rules = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "radam": torch.optim.RAdam}
    return rules[config.get("name", "adam")](weights, **options)


def load(path):
    """The tensors of a safetensors file, and the training in its header."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        header = (file.metadata() or {}).get("pointshard")
        return {name: file.get_tensor(name) for name in file.keys()}, json.loads(header) if header else None


def weights_of(path):
    """The network with the weights of a file, in evaluation mode."""
    tensors, header = load(path)
    model = unet(header["config"]["model"])
    names = model.state_dict().keys()
    model.load_state_dict({n: t for n, t in tensors.items() if n in names}, strict=False)
    missing = [n for n in names if n not in tensors and not n.endswith("num_batches_tracked")]
    assert not missing, missing
    return model.eval()
