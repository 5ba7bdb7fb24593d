"""A Lightning module for assignment: a small U-Net with one output channel per target, and the loss of two_channel.py."""

import lightning
import torch
from torch import nn
from torch.nn.functional import interpolate
from two_channel import channel_losses, combine, loss_masks


def double_conv(inputs, outputs):
    layers = []
    for n in (inputs, outputs):
        layers += [nn.Conv3d(n, outputs, 3, padding=1), nn.GroupNorm(4, outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Three levels. Only x and y are halved, because voxels are longer along z."""

    def __init__(self, inputs, outputs, widths=(8, 16, 32)):
        super().__init__()
        a, b, c = widths
        self.down = nn.ModuleList([double_conv(inputs, a), double_conv(a, b), double_conv(b, c)])
        self.up = nn.ModuleList([double_conv(c + b, b), double_conv(b + a, a)])
        self.head, self.pool = nn.Conv3d(a, outputs, 1), nn.MaxPool3d((1, 2, 2))

    def forward(self, image):
        fine = self.down[0](image)
        middle = self.down[1](self.pool(fine))
        coarse = self.down[2](self.pool(middle))
        for level, skip in zip(self.up, (middle, fine)):
            coarse = level(torch.cat([interpolate(coarse, skip.shape[2:]), skip], 1))
        return self.head(coarse)


def three_planes(volume):
    """The middle planes x y, x z and y z of [z, y, x], side by side, as [height, width] of a picture."""
    z, y, x = volume.shape
    planes = [volume[z // 2], volume[:, y // 2], volume[:, :, x // 2]]
    height = max(plane.shape[0] for plane in planes)
    return torch.cat([nn.functional.pad(p, (0, 2, 0, height - p.shape[0])) for p in planes], 1)


class TwoChannelRegime(lightning.LightningModule):
    """`inputs` maps arrays to the value that becomes 1: {"img": 255, "synapse": 1} are EM and a mask. The first is the image.

    `loss` has options of `channel_losses`, `weights` those of the channels. Batches whose image (or, with `nonz_of="mask"`,
    whose mask) has a smaller nonzero fraction than `min_nonz_frac` inside `loss_crop_pad` are skipped. The losses of each channel
    are logged for training and validation. With a TensorBoard logger, every `picture_interval` (training, validation) batches a
    picture shows a sample in three planes: the image, then target, prediction and mask of each channel.
    """

    def __init__(
        self, targets, inputs=None, lr=1e-3, loss=None, weights=None,
        loss_crop_pad=(0, 0, 0), mask_loss_on_zeros=False, min_nonz_frac=0.0, nonz_of="image", picture_interval=(200, 25),
    ):
        super().__init__()
        inputs = inputs or {"img": 255}
        self.save_hyperparameters()
        self.model = UNet(len(inputs), len(targets))

    def image(self, batch):
        """[batch, input, z, y, x], floats."""
        return torch.cat([batch[name].float() / one for name, one in self.hparams.inputs.items()], 1)

    def step(self, batch, number, stage):
        """The loss, or None if the batch is skipped."""
        p = self.hparams
        image, targets = self.image(batch), torch.cat([batch[name] for name in p.targets], 1)
        first = image[:, :1]
        options = {"loss_crop_pad": p.loss_crop_pad, "mask_loss_on_zeros": p.mask_loss_on_zeros}
        masks = loss_masks(batch, p.targets, first, **options)
        x, y, z = p.loss_crop_pad
        counted = first if p.nonz_of == "image" else masks
        counted = counted[..., z : counted.shape[2] - z, y : counted.shape[3] - y, x : counted.shape[4] - x]
        if (counted != 0).float().mean() < p.min_nonz_frac:
            return None
        logits = self.model(image)
        losses = channel_losses(logits, targets, masks, **(p.loss or {}))
        loss = combine(losses, p.weights)
        # Validation metrics are means over all ranks; every rank logs its own training losses.
        logged = {f"{stage}_loss": loss, **{f"{stage}_loss/{name}": value for name, value in zip(p.targets, losses)}}
        self.log_dict({name: value.detach() for name, value in logged.items()}, sync_dist=stage == "val", batch_size=len(image))
        if number % p.picture_interval[stage == "val"] == 0:
            self.picture(stage, first, targets, logits.detach().sigmoid(), masks)
        return loss

    def picture(self, stage, image, targets, predicted, masks):
        """Adds a picture of the first sample of a batch, if the logger shows pictures."""
        add_image = getattr(getattr(self.logger, "experiment", None), "add_image", None)
        if add_image is None or not self.trainer.is_global_zero:
            return
        rows = [image[0, 0]]
        for channel in range(targets.shape[1]):
            rows += [targets[0, channel] != 0, predicted[0, channel], masks[0, channel] != 0]
        picture = torch.cat([nn.functional.pad(three_planes(row.float()), (0, 0, 0, 2)) for row in rows], 0)
        add_image(f"{stage}/sample", picture.clamp(0, 1).cpu(), self.global_step, dataformats="HW")

    def training_step(self, batch, number):
        loss = self.step(batch, number, "train")
        if loss is None and self.trainer.world_size > 1:    # all ranks must take the same number of steps
            return 0 * self.model(self.image(batch)).sum()
        return loss

    def validation_step(self, batch, number):
        self.step(batch, number, "val")

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.hparams.lr)
