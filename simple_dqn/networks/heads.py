"""Heads: what a network's outputs mean, the targets they learn, and the loss.

`Values` is DQN's: an output is a Q-value. `C51` and `QuantileRegression` are distributional: the
outputs of an action are the distribution of its return. Those of `HLGauss` are a Q-value's bins.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional


class Head(ABC):
    """The meaning of a network's outputs, (n, num_actions) or (n, num_actions, num_atoms).

    A subclass of your own is made as `Class(settings, device, dtype)`, see `run.parts.make_head`.

    Attributes:
        num_atoms: outputs for each action; 1 is a Q-value.
        wrap: None, or a method that takes the fully connected layers and their number of inputs,
            and returns the module that takes their place.
    """

    num_atoms = 1
    wrap: Callable[[nn.Sequential, int], nn.Module] | None = None

    def predictions(self, outputs: Tensor) -> Tensor:
        """Return what the outputs predict of the return of each action, the outputs' shape."""
        return outputs

    @abstractmethod
    def values(self, predictions: Tensor) -> Tensor:
        """Return the Q-values of predictions, (n, num_actions)."""

    def distribution(self, predictions: Tensor) -> tuple[Tensor, Tensor] | None:  # noqa: ARG002
        """Return returns (num_atoms,) and their probabilities, (n, num_actions, num_atoms).

        None: the outputs predict the mean alone.
        """
        return None

    @abstractmethod
    def targets(self, predictions: Tensor, returns: Tensor, discounts: Tensor) -> Tensor:
        """Return what is to be learned: the return, plus the discounted prediction of s'.

        Args:
            predictions: of the next state, (batch,) or (batch, num_atoms).
            returns: (batch,).
            discounts: (batch,), 0 where there is no next state.
        """

    @abstractmethod
    def losses(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return each transition's loss and its error, both (batch,); the error has no gradient.

        Args:
            outputs: of the actions taken, (batch,) or (batch, num_atoms).
            targets: see `targets`.
        """


class Values(Head):
    """Outputs are Q-values, learned by the squared error, clipped (Mnih et al. 2015, Methods)."""

    def __init__(self, clip_error: float) -> None:
        """Clip errors to +-clip_error in the gradient; infinity: never."""
        self._clip_error = clip_error

    def values(self, predictions: Tensor) -> Tensor:
        """Return the predictions; see `Head`."""
        return predictions

    def targets(self, predictions: Tensor, returns: Tensor, discounts: Tensor) -> Tensor:
        """Return t = r + discount Q(s', a'), (batch,); see `Head`."""
        return returns + discounts * predictions.to(returns.dtype)

    def losses(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return (t - Q)^2 / 2 up to an error of clip_error, linear beyond; and t - Q."""
        outputs = outputs.to(targets.dtype)
        losses = functional.huber_loss(outputs, targets, reduction="none", delta=self._clip_error)
        return losses, (targets - outputs).detach()


class C51(Head):
    """Outputs are logits of the probabilities of returns z_0 ... z_(N-1), evenly spaced.

    Bellemare, Dabney and Munos 2017 (A distributional perspective on reinforcement learning),
    section 4; the returns lie in [-limit, limit].
    """

    def __init__(
        self, num_atoms: int, limit: float, device: torch.device, dtype: torch.dtype
    ) -> None:
        """Place the atoms z, `num_atoms` of them."""
        self.num_atoms = num_atoms
        self._atoms = torch.linspace(-limit, limit, num_atoms, device=device, dtype=dtype)
        self._indexes = torch.arange(num_atoms, device=device, dtype=dtype)
        self._limit = limit
        self._spacing = 2 * limit / (num_atoms - 1)

    def predictions(self, outputs: Tensor) -> Tensor:
        """Return the probabilities p of the returns, (..., num_atoms); see `Head`."""
        return outputs.to(self._atoms.dtype).softmax(-1)

    def values(self, predictions: Tensor) -> Tensor:
        """Return Q = sum_i z_i p_i, (n, num_actions); see `Head`."""
        return predictions @ self._atoms

    def distribution(self, predictions: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return the atoms and the predicted probabilities; see `Head`."""
        return self._atoms, predictions

    def targets(self, predictions: Tensor, returns: Tensor, discounts: Tensor) -> Tensor:
        """Return the probabilities of r + discount z', spread over the two nearest atoms each.

            m_i = sum_j p_j [1 - |clip(r + discount z_j, -limit, limit) - z_i| / spacing] >= 0

        Equation 7 of the paper; (batch, num_atoms), see `Head`.
        """
        returns = returns[:, None] + discounts[:, None] * self._atoms  # (batch, num_atoms)
        places = (returns.clamp(-self._limit, self._limit) + self._limit) / self._spacing
        # (batch, num_atoms of m, num_atoms of p)
        shares = (1 - (places[:, None, :] - self._indexes[:, None]).abs()).clamp(min=0)
        return (shares @ predictions[..., None])[..., 0]

    def losses(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the Kullback-Leibler divergence from the targets as loss and as error.

        Its gradient is that of the cross entropy (section 4.2), and it is 0 where both agree.
        """
        log_probabilities = outputs.to(self._atoms.dtype).log_softmax(-1)
        losses = (torch.xlogy(targets, targets) - targets * log_probabilities).sum(-1)
        return losses, losses.detach()


class HLGauss(C51):
    """Outputs are logits of the shares of bins around z_0 ... z_(N-1), whose mean is a Q-value.

    The Q-value is learned as a class is: by the cross entropy with a Gaussian around its target.

        m_i = P(z_i - spacing / 2 < x < z_i + spacing / 2)   where x ~ N(t, (0.75 spacing)^2)
        t = clip(r + discount sum_j z_j p_j, -limit, limit)

    Farebrother et al. 2024 (Stop regressing: training value functions via classification for
    scalable deep RL), section 3.1; what the outer bins do not hold is spread over all.
    """

    def distribution(self, predictions: Tensor) -> None:
        """Return None: the shares are not those of returns; see `Head`."""

    def targets(self, predictions: Tensor, returns: Tensor, discounts: Tensor) -> Tensor:
        """Return the shares m, (batch, num_atoms); see `Head`."""
        targets = (returns + discounts * self.values(predictions)).clamp(-self._limit, self._limit)
        places = (targets[:, None] + self._limit) / self._spacing  # in bins, from z_0
        lower, upper = ((self._indexes + side - places) / 0.75 for side in (-0.5, 0.5))
        shares: Tensor = torch.special.ndtr(upper) - torch.special.ndtr(lower)
        return shares / shares.sum(1, keepdim=True)


class QuantileRegression(Head):
    """Outputs are quantiles theta_1 ... theta_N of the return, at the middles of N equal shares.

        tau_i = (2 i - 1) / (2 N)

    Dabney, Rowland, Bellemare and Munos 2018 (Distributional reinforcement learning with quantile
    regression), section 3. `ExpectedValue` averages quantile by quantile: the mean of its
    predictions is the expected one, their spread is less than that of a random action's return.
    """

    def __init__(
        self, num_quantiles: int, clip_error: float, device: torch.device, dtype: torch.dtype
    ) -> None:
        """Prepare to learn `num_quantiles` of them; the paper's kappa is `clip_error`."""
        self.num_atoms = num_quantiles
        middles = torch.arange(num_quantiles, device=device, dtype=dtype) + 0.5
        self._fractions = middles[:, None] / num_quantiles  # tau, (num_quantiles, 1)
        self._clip_error = clip_error

    def predictions(self, outputs: Tensor) -> Tensor:
        """Return the quantiles, (..., num_quantiles); see `Head`."""
        return outputs.to(self._fractions.dtype)

    def values(self, predictions: Tensor) -> Tensor:
        """Return Q = sum_i theta_i / N, (n, num_actions); see `Head`."""
        return predictions.mean(-1)

    def distribution(self, predictions: Tensor) -> tuple[Tensor, Tensor]:
        """Return N equal steps from the lowest quantile to the highest, and the share in each."""
        number = predictions.shape[-1]
        low = predictions.min()
        step = ((predictions.max() - low) / number).clamp_min(1e-12)
        indexes = ((predictions - low) / step).long().clamp_max(number - 1)
        share = torch.full_like(predictions, 1 / number)
        returns = low + step * (torch.arange(number, device=predictions.device) + 0.5)
        return returns, torch.zeros_like(predictions).scatter_add_(-1, indexes, share)

    def targets(self, predictions: Tensor, returns: Tensor, discounts: Tensor) -> Tensor:
        """Return t_j = r + discount theta'_j, (batch, num_quantiles); see `Head`."""
        return returns[:, None] + discounts[:, None] * predictions

    def losses(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the quantile Huber loss, and the mean of t_j less the mean of theta_i.

            sum_i mean_j |tau_i - [u < 0]| L(u) / kappa    where u = t_j - theta_i
            L(u) = u^2 / 2 up to an error of kappa, linear beyond

        Algorithm 1 and equations 9 and 10 of the paper, where kappa is 1. The division by kappa,
        which keeps the size of the loss, is that of Dabney et al. 2018b (IQN), equation 3; with
        kappa = 0, L(u) / kappa is |u|.
        """
        outputs = outputs.to(targets.dtype)
        kappa = self._clip_error
        with torch.no_grad():  # autograd would keep many arrays of this size
            errors = targets[:, None, :] - outputs[:, :, None]  # u, (batch, N of theta, N of t)
            slopes = (
                errors.clamp(-kappa, kappa) / kappa if kappa else errors.sign()
            )  # L'(u) / kappa
            slopes_by_side = torch.where(errors < 0, 1 - self._fractions, self._fractions) * slopes
            losses = (slopes_by_side * errors.sub_(slopes, alpha=kappa / 2)).mean(2).sum(1)
            gradient = -slopes_by_side.mean(2)  # of the losses by theta
        linear = (gradient * outputs).sum(1)
        losses = losses + (linear - linear.detach())  # adds 0, with this gradient
        return losses, (targets.mean(1) - outputs.mean(1)).detach()


def taken(predictions: Tensor, actions: Tensor) -> Tensor:
    """Return the predictions (batch, ...) for the actions taken, int64 (batch,).

    The predictions given are those for all actions, (batch, num_actions, ...).
    """
    index = actions.view(-1, *[1] * (predictions.dim() - 1)).expand(-1, 1, *predictions.shape[2:])
    return predictions.gather(1, index)[:, 0]
