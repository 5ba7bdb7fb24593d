import lightning
import torch
from torch import nn
from torch.nn.functional import interpolate
from two_channel import loss_masks, two_channel_loss


def double_conv(inputs, outputs):
    layers = []
    for n in (inputs, outputs):
        layers += [nn.Conv3d(n, outputs, 3, padding=1), nn.GroupNorm(4, outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Three levels. Only x and y are halved, because voxels are longer along z."""

    def __init__(self, outputs, widths=(8, 16, 32)):
        super().__init__()
        a, b, c = widths
        self.down = nn.ModuleList([double_conv(1, a), double_conv(a, b), double_conv(b, c)])
        self.up = nn.ModuleList([double_conv(c + b, b), double_conv(b + a, a)])
        self.head, self.pool = nn.Conv3d(a, outputs, 1), nn.MaxPool3d((1, 2, 2))

    def forward(self, image):
        fine = self.down[0](image)
        middle = self.down[1](self.pool(fine))
        coarse = self.down[2](self.pool(middle))
        for level, skip in zip(self.up, (middle, fine)):
            coarse = level(torch.cat([interpolate(coarse, skip.shape[2:]), skip], 1))
        return self.head(coarse)


class TwoChannelRegime(lightning.LightningModule):
    """`loss` has options of `two_channel_loss`. Batches with a nonzero fraction below `min_nonz_frac` are skipped."""

    def __init__(
        self, targets, image="img", lr=1e-3, loss=None,
        loss_crop_pad=(0, 0, 0), mask_loss_on_zeros=False, min_nonz_frac=0.0, nonz_of="image",
    ):
        super().__init__()
        self.save_hyperparameters()
        self.model = UNet(len(targets))

    def batch_loss(self, batch):
        """The loss, or None if the batch is skipped."""
        p = self.hparams
        image, targets = batch[p.image], torch.cat([batch[name] for name in p.targets], 1)
        options = {"loss_crop_pad": p.loss_crop_pad, "mask_loss_on_zeros": p.mask_loss_on_zeros}
        masks = loss_masks(batch, p.targets, image, **options)
        counted = image if p.nonz_of == "image" else masks
        if (counted != 0).float().mean() < p.min_nonz_frac:
            return None
        return two_channel_loss(self.model(image.float() / 255), targets, masks, **(p.loss or {}))

    def training_step(self, batch):
        loss = self.batch_loss(batch)
        if loss is None and self.trainer.world_size > 1:    # all ranks must take the same number of steps
            return 0 * self.model(batch[self.hparams.image].float() / 255).sum()
        return loss

    def validation_step(self, batch):
        loss = self.batch_loss(batch)
        if loss is not None:
            self.log("val_loss", loss)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.hparams.lr)
