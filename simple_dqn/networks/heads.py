"""Returns as distributions: the arithmetic of C51 (Bellemare, Dabney and Munos 2017)."""

import torch
from torch import Tensor


class ValueDistribution:
    """Probabilities of the returns z_0 ... z_(N-1), evenly spaced over [-limit, limit].

    A network gives the logits of the probabilities; section 4 of the paper.
    """

    def __init__(
        self, num_atoms: int, limit: float, device: torch.device, dtype: torch.dtype
    ) -> None:
        """Place the atoms z."""
        self._atoms = torch.linspace(-limit, limit, num_atoms, device=device, dtype=dtype)
        self._indexes = torch.arange(num_atoms, device=device, dtype=dtype)
        self._limit = limit
        self._spacing = 2 * limit / (num_atoms - 1)

    def means(self, logits: Tensor) -> Tensor:
        """Q = sum_i z_i p_i, (n, num_actions), of logits (n, num_actions, num_atoms)."""
        return self.probabilities(logits) @ self._atoms

    def probabilities(self, logits: Tensor) -> Tensor:
        """The p of logits (..., num_atoms), same shape."""
        return logits.to(self._atoms.dtype).softmax(-1)

    def targets(self, probabilities: Tensor, rewards: Tensor, discounts: Tensor) -> Tensor:
        """Probabilities of reward + discount z', spread over the two nearest atoms each.

            m_i = sum_j p_j [1 - |clip(r + discount z_j, -limit, limit) - z_i| / spacing] >= 0

        Equation 7.

        Args:
            probabilities: p, (batch, num_atoms), of the next state's action.
            rewards: (batch,).
            discounts: (batch,), 0 where there is no next state.

        Returns:
            (batch, num_atoms).
        """
        returns = rewards[:, None] + discounts[:, None] * self._atoms  # (batch, num_atoms)
        places = (returns.clamp(-self._limit, self._limit) + self._limit) / self._spacing
        # (batch, num_atoms of m, num_atoms of p)
        shares = (1 - (places[:, None, :] - self._indexes[:, None]).abs()).clamp(min=0)
        return (shares @ probabilities[..., None])[..., 0]

    def costs(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Kullback-Leibler divergence from the targets, (batch,), of logits (batch, num_atoms).

        Its gradient is the cross entropy's (section 4.2), and it is 0 where they agree.
        """
        log_probabilities = logits.to(self._atoms.dtype).log_softmax(-1)
        return (torch.xlogy(targets, targets) - targets * log_probabilities).sum(-1)
