import torch
from torch.nn.functional import binary_cross_entropy_with_logits


def two_channel_loss(
    logits, targets, masks, *, balance=True, balance_clip=0.1, reduction="mean", mean_reduction_clip=0.1, weights=None
):
    """Masked binary cross-entropy of each channel. All inputs are [batch, channel, z, y, x]; nonzero means true.

    `balance` gives ones and zeros the same weight in total, within `balance_clip`. `weights` gives the weighted mean of the
    channels; without it they are summed.
    """
    losses = []
    for logit, target, mask in zip(logits.unbind(1), (targets != 0).unbind(1), (masks != 0).unbind(1)):
        loss = binary_cross_entropy_with_logits(logit, target.to(logit.dtype), reduction="none") * mask
        if balance:
            ones, zeros = (target & mask).sum(), (~target & mask).sum()
            counted = (ones + zeros).clamp(min=1)
            weight_of_ones, weight_of_zeros = (
                (others / counted).clamp(balance_clip, 1 - balance_clip) for others in (zeros, ones)
            )
            loss = loss * torch.where(target, weight_of_ones, weight_of_zeros)
        loss = loss.sum()
        if reduction == "mean":
            loss = loss / mask.sum().clamp(min=mask.numel() * mean_reduction_clip)
        losses.append(loss)
    if weights is None:
        return sum(losses)
    return sum(w * loss for w, loss in zip(weights, losses)) / sum(weights)


def loss_masks(batch, targets, image, *, loss_crop_pad=(0, 0, 0), mask_loss_on_zeros=False):
    """Where the loss counts: inside the masks, except a rim of `loss_crop_pad` x, y, z voxels and, on request, zeros."""
    ones = torch.ones_like(image, dtype=torch.bool)
    masks = torch.cat([batch[f"{t}_mask"] != 0 if f"{t}_mask" in batch else ones for t in targets], 1)
    inner = torch.zeros_like(masks)
    x, y, z = loss_crop_pad
    depth, height, width = image.shape[2:]
    inner[..., z : depth - z, y : height - y, x : width - x] = True
    return masks & inner & (image != 0) if mask_loss_on_zeros else masks & inner
