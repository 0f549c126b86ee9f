"""The patch discriminator that sharpens the decoder, and its losses."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Discriminator(nn.Module):
    """Pixels (B,3,H,W) → a score for each patch, and the features on the way.

    A random shift of up to 7 pixels precedes it
    in training, so that it cannot tell pictures apart by where the token grid lies, yet sees a grid
    itself as the defect it is.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        w = width
        self.layers = nn.ModuleList(
            [
                nn.Conv2d(3, w, 3, padding=1),
                nn.Conv2d(w, 2 * w, 4, stride=2, padding=1),
                nn.Conv2d(2 * w, 4 * w, 4, stride=2, padding=1),
                nn.Conv2d(4 * w, 4 * w, 3, padding=1),
            ]
        )
        self.score = nn.Conv2d(4 * w, 1, 3, padding=1)

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        x, features = image * 2.0 - 1.0, []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            features.append(x)
        return self.score(x), features


def random_shift(*images: Tensor) -> list[Tensor]:
    """The same random crop, up to 7 pixels smaller on each side, of every picture."""
    top, left = (int(n) for n in torch.randint(0, 8, (2,)))
    height, width = images[0].shape[-2:]
    return [i[..., top : height - 7 + top, left : width - 7 + left] for i in images]


def hinge_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss of the discriminator (arXiv 1705.02894, equation 4)."""
    return F.relu(1.0 - real).mean() + F.relu(1.0 + fake).mean()


def adaptive_weight(loss: Tensor, adversarial: Tensor, last: Tensor) -> Tensor:
    """‖∇ loss‖ / ‖∇ adversarial‖ at the decoder's last layer (VQGAN, arXiv 2012.09841, eq. 7)."""
    first = torch.autograd.grad(loss, last, retain_graph=True)[0].norm()
    second = torch.autograd.grad(adversarial, last, retain_graph=True)[0].norm()
    weight: Tensor = (first / (second + 1e-6)).clamp(0.0, 1e3).detach()
    return weight
