"""How the picture of a game becomes a screen: its luminance, resized."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from simple_dqn.errors import UserError


def to_screen(picture: npt.NDArray[Any], screen_shape: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Turn a picture into a screen, uint8 `screen_shape`, by pixel area as ALE's vector engine.

    The picture is (h, w, 3) RGB, (h, w, 4) RGB and opacity, (h, w) or (h, w, 1) luminance; see
    `to_bytes` for its numbers.
    """
    picture = to_bytes(picture)
    if picture.ndim == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    height, width = screen_shape
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def to_bytes(picture: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return a picture as bytes, uint8 (h, w) or (h, w, 3), without opacity.

    Truth values and floats of at most 1 go from 0 (black) to 1 (white), as in Matplotlib; other
    numbers go from 0 to 255. What is not a picture raises a `UserError`.
    """
    picture = np.asarray(picture)
    if picture.ndim not in {2, 3} or picture.dtype.kind not in "biuf":
        raise UserError(
            f"the game does not render a picture, but {picture!r}; it can be learned without "
            "--observations pictures, but not shown"
        )
    if picture.ndim == 3:
        picture = picture[..., 0] if picture.shape[2] == 1 else picture[..., :3]
    if picture.dtype != np.uint8:
        unit = picture.dtype.kind == "b" or (picture.dtype.kind == "f" and picture.max() <= 1)
        picture = np.rint(picture * (255.0 if unit else 1.0)).clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(picture)


def to_rgb(picture: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Return a picture for people, uint8 (h, w, 3)."""
    picture = to_bytes(picture)
    return picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
