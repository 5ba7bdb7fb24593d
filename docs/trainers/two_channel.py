"""The loss of the two-channel regime: masked binary cross-entropy of each channel, balanced within the batch."""

import torch
from torch.nn.functional import binary_cross_entropy_with_logits


def class_weights(target, mask, balance, clip):
    """The weights of ones and of zeros of one channel.

    `balance` is one of:
    - True: each class has the fraction of the other class.
    - "default" or "frequency": the rules of zetta_utils, which count mask weights.
    - {"ones": ..., "zeros": ...}: these weights.
    """
    if isinstance(balance, dict):
        return balance["ones"], balance["zeros"]
    counted = (mask != 0).to(mask.dtype) if balance is True else mask
    ones, zeros = (target * counted).sum(), ((1 - target) * counted).sum()
    if balance is True:
        all_counted = (ones + zeros).clamp(min=1)
        return (zeros / all_counted).clamp(clip, 1 - clip), (ones / all_counted).clamp(clip, 1 - clip)
    of_ones, of_zeros = ((n / (ones + zeros + 1)).clamp(clip, 1 - clip) for n in (ones, zeros))
    return {"default": (2 * of_zeros, 2 * of_ones), "frequency": (0.5 / of_ones, 0.5 / of_zeros)}[balance]


def channel_losses(logits, targets, masks, *, balance=True, balance_clip=0.1, reduction="mean", mean_reduction_clip=0.1):
    """Masked binary cross-entropy of each channel. All inputs are [batch, channel, z, y, x]; masks of floats are weights.

    `balance` is False or a rule of `class_weights`.
    """
    losses = []
    for logit, target, mask in zip(logits.unbind(1), targets.unbind(1), masks.unbind(1)):
        target = (target != 0).to(logit.dtype)
        mask = (mask if mask.is_floating_point() else mask != 0).to(logit.dtype)
        loss = binary_cross_entropy_with_logits(logit, target, reduction="none")
        counted = mask
        if balance is not False:
            of_ones, of_zeros = class_weights(target, mask, balance, balance_clip)
            weight = mask * (target * of_ones + (1 - target) * of_zeros)
            counted, mask = (mask if balance is True else weight), weight
        loss = (loss * mask).sum()
        if reduction == "mean":
            loss = loss / (counted != 0).sum().clamp(min=counted.numel() * mean_reduction_clip)
        losses.append(loss)
    return losses


def combine(losses, weights=None):
    """The sum of the channels, or their mean with `weights`."""
    if weights is None:
        return sum(losses)
    return sum(w * loss for w, loss in zip(weights, losses)) / sum(weights)


def two_channel_loss(logits, targets, masks, *, weights=None, **options):
    """The loss to minimize; `options` are those of `channel_losses`."""
    return combine(channel_losses(logits, targets, masks, **options), weights)


def loss_masks(batch, targets, image, *, loss_crop_pad=(0, 0, 0), mask_loss_on_zeros=False):
    """Where the loss counts: inside the masks, except a rim of `loss_crop_pad` x, y, z voxels and, on request, zeros."""
    ones = torch.ones_like(image, dtype=torch.bool)
    masks = torch.cat([batch[f"{t}_mask"] != 0 if f"{t}_mask" in batch else ones for t in targets], 1)
    inner = torch.zeros_like(masks)
    x, y, z = loss_crop_pad
    depth, height, width = image.shape[2:]
    inner[..., z : depth - z, y : height - y, x : width - x] = True
    return masks & inner & (image != 0) if mask_loss_on_zeros else masks & inner
