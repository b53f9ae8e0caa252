"""The optimizers by name; the default one is the paper's RMSProp, which no library has."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


class _Eager(torch.optim.Optimizer):
    """An optimizer whose methods are torch's own, without what keeps torch's compiler away.

    That would import the compiler, which takes 2 seconds of each start.
    """

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        super().step.__wrapped__(self, closure)  # type: ignore[attr-defined]

    def zero_grad(self, set_to_none: bool = True) -> None:  # noqa: ARG002
        for parameter in self.param_groups[0]["params"]:
            parameter.grad = None

    add_param_group, state_dict, load_state_dict = (
        getattr(torch.optim.Optimizer, name).__wrapped__
        for name in ("add_param_group", "state_dict", "load_state_dict")
    )


class Adam(_Eager, torch.optim.Adam):
    """torch's Adam."""


class _Adadelta(_Eager, torch.optim.Adadelta):
    pass


class _RAdam(_Eager, torch.optim.RAdam):
    pass


class GravesRMSProp(_Eager):
    """RMSProp as DeepMind used it: centred, without momentum, the constant inside the root.

        g <- decay g + (1 - decay) dw
        n <- decay n + (1 - decay) dw^2
        w <- w - learning_rate dw / sqrt(max(n - g^2, 0) + min_squared_gradient)

    n - g^2 is a variance; where gradients hardly change, rounding would bring it below 0.

    Graves 2013 (Generating sequences with recurrent neural networks), equations 38-41;
    Mnih et al. 2015, extended data table 1; NeuralQLearner.lua, qLearnMinibatch. torch's RMSprop
    adds its constant outside the root: where gradients are small, its steps are several times
    larger.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        *,
        learning_rate: float,
        decay_rate: float,
        min_squared_gradient: float,
    ) -> None:
        super().__init__(params, {"lr": learning_rate})
        self._decay_rate = decay_rate
        self._min_squared_gradient = min_squared_gradient
        for parameter in self._parameters():
            self.state[parameter] = {
                name: torch.zeros_like(parameter)
                for name in ("mean_gradient", "mean_squared_gradient")
            }

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update the parameters from their gradients."""
        assert closure is None
        parameters = self._parameters()
        dw = [parameter.grad for parameter in parameters if parameter.grad is not None]
        g = [self.state[parameter]["mean_gradient"] for parameter in parameters]
        n = [self.state[parameter]["mean_squared_gradient"] for parameter in parameters]
        self.update((parameters, dw, g, n), self.param_groups[0]["lr"])

    def update(self, groups: tuple[list[Tensor], ...], learning_rate: float) -> None:
        """Apply the class's three formulas in place to lists of w, dw, g and n."""
        parameters, dw, g, n = groups
        decay = self._decay_rate
        torch._foreach_lerp_(g, dw, 1 - decay)
        torch._foreach_mul_(n, decay)
        torch._foreach_addcmul_(n, dw, dw, 1 - decay)
        root = torch._foreach_addcmul(n, g, g, -1)
        torch._foreach_clamp_min_(root, 0)
        torch._foreach_add_(root, self._min_squared_gradient)
        torch._foreach_sqrt_(root)
        torch._foreach_addcdiv_(parameters, dw, root, -learning_rate)

    def _parameters(self) -> list[Tensor]:
        return list(self.param_groups[0]["params"])


def make_optimizer(
    name: str,
    params: Iterable[nn.Parameter],
    *,
    learning_rate: float,
    decay_rate: float,
    epsilon: float,
    batch_size: int,
    gradient_norm: float | None = None,
    own: Mapping[str, Callable[..., torch.optim.Optimizer]],
) -> torch.optim.Optimizer:
    """Make an optimizer by its name.

    Args:
        name: `rmsprop`, `adam`, `adadelta` or `radam`.
        params: the parameters.
        learning_rate: step size; for adadelta a factor on its own step size.
        decay_rate: of the running averages; adam has its own rates (0.9 and 0.999).
        epsilon: added to the root of adam's and radam's mean squared gradient, the gradient being
            the mean over the minibatch.
        batch_size: number of transitions whose gradients are summed.
        gradient_norm: larger gradients, means over the minibatch, are scaled down to this norm.
        own: by name, what takes the place of `GravesRMSProp` and `Adam`.
    """
    params = list(params)
    optimizer: torch.optim.Optimizer
    # capturable: an update can be part of a CUDA graph.
    kwargs: dict[str, Any] = {"lr": learning_rate, "capturable": params[0].is_cuda}
    # Our gradients are sums over the minibatch, so epsilon is scaled likewise.
    if name == "rmsprop":
        settings = {"decay_rate": decay_rate, "min_squared_gradient": 0.01}
        optimizer = own.get(name, GravesRMSProp)(params, learning_rate=learning_rate, **settings)
    elif name == "adam":
        optimizer = own.get(name, Adam)(params, eps=epsilon * batch_size, fused=True, **kwargs)
    elif name == "radam":
        optimizer = _RAdam(params, eps=epsilon * batch_size, **kwargs)
    else:
        assert name == "adadelta", name
        optimizer = _Adadelta(params, rho=decay_rate, **kwargs)
    if gradient_norm is not None:
        most = gradient_norm * batch_size

        def limit(*_: Any) -> None:
            nn.utils.clip_grad_norm_(params, most)

        optimizer.register_step_pre_hook(limit)
    return optimizer


# What an optimizer keeps of a parameter: `step` is one number, others have the parameter's shape.
_KEPT: dict[type[torch.optim.Optimizer], tuple[str, ...]] = {
    GravesRMSProp: ("mean_gradient", "mean_squared_gradient"),
    torch.optim.Adam: ("step", "exp_avg", "exp_avg_sq"),
    torch.optim.RAdam: ("step", "exp_avg", "exp_avg_sq"),
    torch.optim.Adadelta: ("step", "square_avg", "acc_delta"),
}


def state_like(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return tensors with the shapes and types of an optimizer's state after an update.

    They are named `<parameter's index>.<name>`; their numbers mean nothing.
    """
    names = next(names for kind, names in _KEPT.items() if isinstance(optimizer, kind))
    return {
        f"{index}.{name}": torch.zeros(()) if name == "step" else parameter
        for index, parameter in enumerate(optimizer.param_groups[0]["params"])
        for name in names
    }
