"""Weights and optimizer states as NumPy arrays by name, for snapshots.

What is read from a file is checked before it is copied to a tensor: names, shapes, types, and that
all numbers are finite.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from simple_dqn.errors import UserError

Arrays = dict[str, npt.NDArray[np.generic]]

_NEVER_NEGATIVE = (
    *("running_var", ".step"),
    *("mean_squared_gradient", "exp_avg_sq", "square_avg", "acc_delta"),
)


def to_numpy(tensors: Mapping[str, Tensor]) -> Arrays:
    """Copy tensors to arrays."""
    return {k: v.detach().cpu().contiguous().clone().numpy() for k, v in tensors.items()}


def to_tensors(arrays: Arrays) -> dict[str, Tensor]:
    """Copy arrays to tensors."""
    return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}


def with_prefix(arrays: Arrays, prefix: str) -> Arrays:
    """Return the arrays whose names begin with a prefix, which is taken off."""
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def check_arrays(given: Arrays, expected: Mapping[str, Tensor]) -> None:
    """Check arrays from a file against the tensors that they will be copied to.

    The tensors' numbers do not count; they may be on torch's `meta` device.

    Raises:
        UserError: names, shapes or types differ, or there are numbers that no training gives.
    """
    for name in sorted(expected.keys() | given.keys()):
        here = tuple(expected[name].shape) if name in expected else None
        there = given[name].shape if name in given else None
        if here != there:
            raise UserError(
                f"the snapshot is of another network: {name} has the shape {there} there and "
                f"{here} here; use the options that the snapshot was trained with"
            )
        array, tensor = given[name], expected[name]
        if (array.dtype.kind == "f") != tensor.is_floating_point():
            raise UserError(f"the snapshot is of another network: {name} is {array.dtype} there")
        with np.errstate(over="ignore"):  # what becomes infinite is refused below
            numbers = array.astype(str(tensor.dtype).removeprefix("torch."), copy=False)
        # In 16 bits the square of a gradient of 256 is infinite, and training continues.
        wrong = ~np.isfinite(numbers) if numbers.itemsize > 2 else np.isnan(numbers)
        if wrong.any() or (name.endswith(_NEVER_NEGATIVE) and numbers.min() < 0):
            raise UserError(
                f"{name} has numbers that no training gives: the network diverged, or the file was "
                "altered; use an earlier epoch's snapshot"
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
