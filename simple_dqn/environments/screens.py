"""How the picture of a game becomes a screen: its luminance, resized."""

import cv2
import numpy as np
import numpy.typing as npt


def to_screen(
    picture: npt.NDArray[np.uint8], screen_shape: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    """Turn one picture into a screen.

    Args:
        picture: uint8 (h, w, 3) RGB or (h, w) luminance.
        screen_shape: (height, width) of the result.

    Returns:
        uint8 (height, width), resized by pixel area as ALE's vector engine does.
    """
    if picture.ndim == 3:
        picture = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)  # type: ignore[assignment]
    height, width = screen_shape
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]
