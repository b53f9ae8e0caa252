"""Weights and optimizer states as NumPy arrays by name, for snapshots."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from simple_dqn.errors import UserError

Arrays = dict[str, npt.NDArray[np.generic]]


def to_numpy(tensors: Mapping[str, Tensor]) -> Arrays:
    """Copy tensors to arrays."""
    return {k: v.detach().cpu().contiguous().clone().numpy() for k, v in tensors.items()}


def to_tensors(arrays: Arrays) -> dict[str, Tensor]:
    """Copy arrays to tensors."""
    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}


def with_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, which is taken off."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def check_same_network(network: nn.Module, weights: Arrays) -> None:
    """Check that weights have the names and shapes of a network's.

    Raises:
        UserError: they do not.
    """
    own = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    given = {name: value.shape for name, value in weights.items()}
    for name in own.keys() | given.keys():
        if own.get(name) != given.get(name):
            raise UserError(
                f"these weights belong to another network: {name} is {given.get(name)} there "
                f"and {own.get(name)} here; use the options that the snapshot was trained with"
            )


def optimizer_state_of(
    tensors: Mapping[str, Tensor], parameters: Sequence[nn.Parameter]
) -> dict[int, dict[str, Tensor]]:
    """Put tensors named `<parameter's index>.<name>` together as an optimizer's `state`."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", 1)
        parameter = parameters[int(index)]
        if value.shape == parameter.shape:
            # NB! In the parameter's memory order: torch's fused Adam goes by it alone.
            value = torch.empty_like(parameter, requires_grad=False).copy_(value)
        state.setdefault(int(index), {})[name] = value
    return state
