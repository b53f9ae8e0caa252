"""Implicit quantile networks (Dabney et al. 2018b), in a file outside the package."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from simple_dqn.networks.heads import Head


class IQN(Head):
    """Outputs are values of random quantiles, then their fractions (Dabney et al. 2018b).

    The fractions of acting and of targets are even, those of learning are drawn.
    """

    def __init__(self, settings: Any, device: torch.device, dtype: torch.dtype) -> None:  # noqa: ARG002
        self._kappa = settings.clip_error

    def wrap(self, layers: nn.Sequential, features: int) -> nn.Module:
        return ImplicitQuantiles(layers, features)

    def predictions(self, outputs: Tensor) -> Tensor:
        return outputs.chunk(2, -1)[0]

    def values(self, predictions: Tensor) -> Tensor:
        return predictions.mean(-1)

    def targets(self, predictions: Tensor, returns: Tensor, discounts: Tensor) -> Tensor:
        return returns[:, None] + discounts[:, None] * predictions

    def losses(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        quantiles, fractions = outputs.chunk(2, -1)  # (batch, N) each
        errors = targets[:, None, :] - quantiles[:, :, None]  # (batch, N, N')
        sizes = functional.huber_loss(
            errors, torch.zeros_like(errors), reduction="none", delta=self._kappa
        )
        sides = (fractions[:, :, None] - (errors.detach() < 0).float()).abs()
        losses = (sides * sizes / self._kappa).mean(2).sum(1)
        return losses, (targets.mean(1) - quantiles.mean(1)).detach()


class ImplicitQuantiles(nn.Module):
    """Multiplies the features by an embedding of each fraction, equation 4 of the paper."""

    def __init__(self, layers: nn.Sequential, features: int) -> None:
        super().__init__()
        self.layers = layers
        self.embedding = nn.Linear(64, features)
        self.register_buffer("draws", torch.zeros((), dtype=torch.int64))  # kept in snapshots

    def forward(self, features: Tensor) -> Tensor:
        """Return (n, num_actions, 2 N)."""
        n = len(features)
        fractions = ((torch.arange(32) + 0.5) / 32).expand(n, 32)
        if self.training:
            generator = torch.Generator().manual_seed(int(self.draws))
            fractions = torch.rand(n, 8, generator=generator)
            self.draws += 1
        cosines = torch.cos(math.pi * torch.arange(64) * fractions[..., None])
        mixed = features[:, None] * self.embedding(cosines).relu()  # (n, N, features)
        outputs = self.layers(mixed.flatten(0, 1)).view(n, fractions.shape[1], -1).transpose(1, 2)
        return torch.cat([outputs, fractions[:, None].expand_as(outputs)], -1)
