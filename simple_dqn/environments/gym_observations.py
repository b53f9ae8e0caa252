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
        read: takes what n environments show, an array or a list, and returns observations,
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
        truth values, one of n (`Discrete`) and several such: one-hot, uint8
        dictionaries, tuples                        flattened, float32

    What is true is 255 in bytes and what is not is 0, since the network scales bytes to [0, 1]; a
    float would take four times the memory.

    Raises:
        UserError: the space has no fixed number of numbers, or too many.
    """
    kind: npt.DTypeLike = np.float32
    if isinstance(space, spaces.Box):
        if space.dtype == np.uint8 and _is_picture(space.shape):
            return pictures(screen_shape)
        if space.dtype != np.bool_:
            kind, shape = np.uint8 if space.dtype == np.uint8 else kind, space.shape or (1,)
            return Reading(
                shape, np.dtype(kind), lambda seen: np.array(seen, kind).reshape(-1, *shape)
            )
    size = spaces.flatdim(space) if space.is_np_flattenable else 0
    if not 0 < size <= _MOST_NUMBERS:
        raise UserError(
            f"observations of {type(space).__name__} cannot be learned from: {space}; give "
            "--observations pictures"
        )
    flat = space.shape if isinstance(space, spaces.Box | spaces.MultiBinary) else (size,)
    true = 1
    if not isinstance(space, spaces.Dict | spaces.Tuple):
        kind, true = np.uint8, 255

    def read(seen: Any) -> npt.NDArray[Any]:
        rows = [true * np.asarray(spaces.flatten(space, each)).astype(kind) for each in seen]
        return np.stack(rows).reshape(-1, *(flat or (1,)))

    return Reading(flat or (1,), np.dtype(kind), read)


def pictures(screen_shape: tuple[int, int]) -> Reading:
    """How to read pictures."""
    return Reading(
        screen_shape,
        np.dtype(np.uint8),
        lambda seen: np.stack([to_screen(picture, screen_shape) for picture in seen]),
    )


def _is_picture(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in {1, 3})
