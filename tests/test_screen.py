"""Pictures become screens: a real frame by its hash, then what holds for every picture."""

import hashlib
from pathlib import Path

import ale_py
import numpy as np
import numpy.typing as npt
import pytest

from simple_dqn.environments.screens import to_screen

SEAQUEST = Path(ale_py.__file__).parent / "roms" / "seaquest.bin"


def sha256(array: npt.NDArray[np.uint8]) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()[:16]


def area_weights(size: int, new_size: int) -> npt.NDArray[np.float64]:
    """How much of each old pixel lies in each new one, (new_size, size); rows add up to 1."""
    borders = np.arange(new_size + 1) * size / new_size
    pixels = np.arange(size)
    overlap = np.minimum(borders[1:, None], pixels + 1) - np.maximum(borders[:-1, None], pixels)
    return np.maximum(overlap, 0) * new_size / size


@pytest.fixture(scope="module")
def frame() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Frame 100 of an idle game of Seaquest: (210, 160, 3) colours, (210, 160) luminance."""
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    ale = ale_py.ALEInterface()
    ale.setInt("frame_skip", 1)
    ale.setFloat("repeat_action_probability", 0.0)
    ale.loadROM(SEAQUEST)
    ale.reset_game()
    for _ in range(100):
        ale.act(ale_py.Action.NOOP)
    return ale.getScreenRGB(), ale.getScreenGrayscale()


def test_a_real_frame_by_its_hash(
    frame: tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]],
) -> None:
    """Pinned with ale-py 0.12.1 and opencv 5.0.0: first what comes in, then what goes out."""
    colours, luminance = frame
    assert sha256(colours) == "b3aa82cb485c998d", "the emulator's colours have changed"
    assert sha256(luminance) == "ed7fba165cf05665", "the emulator's luminance has changed"
    assert sha256(to_screen(luminance, (84, 84))) == "0717383ccf769060"
    assert sha256(to_screen(colours, (84, 84))) == "0717383ccf769060"


@pytest.mark.parametrize("screen_shape", [(84, 84), (36, 50), (105, 80), (210, 160)])
def test_resizing_averages_by_area(
    frame: tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]], screen_shape: tuple[int, int]
) -> None:
    """Also in pictures that are not symmetric: up stays up, and left stays left."""
    _, luminance = frame
    height, width = screen_shape
    averages = area_weights(210, height) @ luminance @ area_weights(160, width).T
    screen = to_screen(luminance, screen_shape)
    assert screen.shape == screen_shape
    assert screen.dtype == np.uint8
    # Half a gray level for rounding, and a little for the halves: OpenCV computes in 32 bits.
    np.testing.assert_allclose(screen, averages, atol=0.501)


@pytest.mark.parametrize("shape", [(84, 84), (210, 160), (210, 160, 3)])
def test_a_screen_does_not_share_memory_with_the_picture(shape: tuple[int, ...]) -> None:
    picture = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
    before = picture.copy()
    screen = to_screen(picture, (84, 84))
    screen += 1
    np.testing.assert_array_equal(picture, before)
