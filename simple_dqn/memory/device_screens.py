"""The replay memory's screens on a GPU: nothing but new screens and indexes goes there."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from simple_dqn.replay_memory import check_size

_RESERVE = 2 * 1024**3  # bytes of a GPU's memory left to networks and optimizer


class DeviceScreens:
    """Keeps the screens of a `ReplayMemory` as one tensor; a `ScreenStore`."""

    def __init__(
        self, device: str, num_games: int, lane_size: int, screen_shape: tuple[int, int]
    ) -> None:
        """Allocate the tensor.

        Raises:
            UserError: the device has too little free memory.
        """
        self._device = torch.device(device)
        if self._device.type == "cuda":
            check_size(num_games * lane_size, screen_shape, free_bytes(device))
        self._screens = torch.empty(
            (num_games, lane_size, *screen_shape), dtype=torch.uint8, device=self._device
        )
        self.nbytes = self._screens.nbytes

    def write(self, position: int, screens: npt.NDArray[np.uint8]) -> None:
        """Store a screen of every lane; see `ScreenStore`."""
        self._screens[:, position] = torch.from_numpy(screens)

    def read(
        self,
        games: npt.NDArray[np.int64],
        positions: npt.NDArray[np.int64],
        blank: npt.NDArray[np.bool_],
    ) -> Tensor:
        """Screens as a tensor of their own; see `ScreenStore`."""
        num_games, lane_size, height, width = self._screens.shape
        steps = self._upload(games * lane_size + positions)
        screens = self._screens.view(num_games * lane_size, height, width)[steps]
        return screens.mul_(self._upload(~blank)[..., None, None])

    def _upload(self, array: npt.NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self._device)


def free_bytes(device: str) -> int:
    """Bytes of a GPU's memory that a replay memory may take."""
    return max(0, torch.cuda.mem_get_info(torch.device(device))[0] - _RESERVE)
