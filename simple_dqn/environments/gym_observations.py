"""What a Gymnasium environment lets one see, as observations of one shape and dtype."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from simple_dqn.environments.screens import to_screen
from simple_dqn.errors import UserError

_MOST_NUMBERS = 2**20  # of one observation


class Reading(NamedTuple):
    """How to read what several environments show.

    Attributes:
        shape: of one observation.
        dtype: of the observations.
        read: takes what the environments show, a batch of the space, and returns observations,
            (n, *shape), which the caller owns.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[Any], npt.NDArray[Any]]


def reading_of(space: spaces.Space[Any], screen_shape: tuple[int, int]) -> Reading:
    """Choose how to read the observations of a space.

        bytes (h, w), (h, w, 1) or (h, w, 3)        a screen, uint8 screen_shape
        other bytes                                 as they are, uint8
        other numbers                               as they are, float32
        one of n (`Discrete`), several such         one-hot, uint8
        truth values                                uint8

    What is true is 255 in bytes and what is not is 0, since the network scales bytes to [0, 1]; a
    float would take four times the memory.

    Raises:
        UserError: the space is of another kind, such as a dictionary.
    """
    if isinstance(space, spaces.Box | spaces.MultiBinary):
        shape, dtype = space.shape, space.dtype
        if dtype == np.uint8 and _is_picture(shape):
            return pictures(screen_shape)
        shape = shape or (1,)
        if dtype == np.bool_ or isinstance(space, spaces.MultiBinary):
            return Reading(shape, np.dtype(np.uint8), lambda seen: _truth(seen, shape))
        kept = np.dtype(np.uint8 if dtype == np.uint8 else np.float32)
        return Reading(shape, kept, lambda seen: np.array(seen, kept).reshape(-1, *shape))
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        sizes = space.nvec.ravel() if isinstance(space, spaces.MultiDiscrete) else [space.n]
        sizes = np.array(sizes, np.int64)
        starts = np.ravel(space.start)
        if int(sizes.sum()) <= _MOST_NUMBERS:
            return Reading(
                (int(sizes.sum()),),
                np.dtype(np.uint8),
                lambda seen: _one_hot(np.asarray(seen).reshape(len(seen), -1) - starts, sizes),
            )
    raise UserError(
        f"observations of {type(space).__name__} cannot be learned from: {space}; wrap the "
        "environment in gymnasium.wrappers.FlattenObservation, or give --observations pictures"
    )


def pictures(screen_shape: tuple[int, int]) -> Reading:
    """How to read pictures."""
    return Reading(
        screen_shape,
        np.dtype(np.uint8),
        lambda seen: np.stack([to_screen(picture, screen_shape) for picture in seen]),
    )


def _is_picture(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in {1, 3})


def _truth(seen: Any, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    return np.where(np.asarray(seen).reshape(-1, *shape), np.uint8(255), np.uint8(0))


def _one_hot(numbers: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Mark one of so many places for each number.

    Args:
        numbers: (n, k), each from 0 on.
        sizes: (k,), how many values each number can have.

    Returns:
        uint8 (n, sum of sizes).
    """
    marked = np.zeros((len(numbers), int(sizes.sum())), np.uint8)
    marked[np.arange(len(numbers))[:, None], np.cumsum(sizes) - sizes + numbers] = 255
    return marked
