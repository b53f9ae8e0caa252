"""What a Gymnasium environment shows, as observations of one shape and dtype."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from simple_dqn.environments.screens import to_screen
from simple_dqn.errors import UserError

_LARGEST = float(np.finfo(np.float32).max)
_MOST_NUMBERS = 2**20  # of one observation
_LEAST_SIDE = 32  # of a picture; less are numbers, such as the codes of a grid's 7x7 fields


class Reading(NamedTuple):
    """How to turn what an environment shows into an observation, which the caller owns."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[Any], npt.NDArray[Any]]  # returns (*shape)


def reading_of(
    space: spaces.Space[Any], screen_shape: tuple[int, int], *, rendered: bool = False
) -> Reading:
    """Choose how to read the observations of a space, or what is rendered instead.

        what is rendered: pictures of any kind      a screen, uint8 screen_shape
        bytes (h, w), (h, w, 1) or (h, w, 3)        a screen, uint8 screen_shape
        other bytes, but for those of a small grid  as they are, uint8
        other numbers                               as they are, float32; a small grid in a row
        truth values, one of n (`Discrete`) and several such: one-hot, uint8
        dictionaries, tuples                        flattened, float32

    What is true is 255 in bytes and what is not is 0, since the network scales bytes to [0, 1]; a
    float would take four times the memory.
    """
    shape = (space.shape or ()) if isinstance(space, spaces.Box | spaces.MultiBinary) else ()
    is_bytes = isinstance(space, spaces.Box) and space.dtype == np.uint8
    is_small = len(shape) in {2, 3} and min(shape[:2]) < _LEAST_SIDE
    is_picture = len(shape) == 2 or (len(shape) == 3 and shape[2] in {1, 3})
    if rendered or (is_bytes and is_picture and not is_small):
        return Reading(screen_shape, np.dtype(np.uint8), lambda seen: to_screen(seen, screen_shape))
    size = spaces.flatdim(space) if space.is_np_flattenable else 0
    if not 0 < size <= _MOST_NUMBERS:
        raise UserError(
            f"the network cannot learn from observations of {type(space).__name__}: {space}; give "
            "--observations pictures"
        )
    if not shape or (len(shape) == 2 and is_small):
        shape = (size,)
    is_true_or_not = space.dtype == np.bool_ or isinstance(
        space, spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary
    )
    dtype = np.dtype(np.uint8 if (is_bytes and not is_small) or is_true_or_not else np.float32)
    scale = dtype.type(255 if is_true_or_not else 1)
    flatten = np.asarray if isinstance(space, spaces.Box) else partial(spaces.flatten, space)

    def read(seen: Any) -> npt.NDArray[Any]:
        return np.asarray(flatten(seen), dtype).reshape(shape) * scale

    return Reading(shape, dtype, read)


def check(space: spaces.Space[Any], given: Any) -> None:
    """Raise an error if what an environment gave cannot be learned as something of a space.

    Floats must be finite, but may be beyond the space's bounds, since many environments' are.
    """
    if isinstance(space, spaces.Dict | spaces.Tuple):
        parts: Any = space.spaces  # by name or by number
        for key in parts if isinstance(parts, dict) else range(len(parts)):
            check(parts[key], given[key])
    elif not isinstance(space, spaces.Box):
        if not space.contains(given):
            raise ValueError(f"{given!r} is not of {space}")
    else:
        to_numbers("an observation", given, space.shape, space.dtype)


def to_numbers(
    what: str, given: Any, shape: tuple[int, ...], dtype: np.dtype[Any] | None
) -> npt.NDArray[Any]:
    """Return what an environment gave as an array of a shape and a dtype.

    Another shape, or numbers that are not finite or not of the dtype, raise a `ValueError`.
    """
    numbers = np.asarray(given)
    if numbers.dtype.kind not in ("biu" if dtype == np.uint8 else "biuf") or numbers.shape != shape:
        raise ValueError(f"{given!r} in place of {what}, {dtype} of shape {shape}")
    low, high = {"uint8": (0, 255), "bool": (0, 1)}.get(str(dtype), (-_LARGEST, _LARGEST))
    if not ((numbers >= low) & (numbers <= high)).all():  # so is NaN
        raise ValueError(f"{given!r} in place of {what}, finite and from {low:g} to {high:g}")
    return numbers.astype(dtype, copy=False)
