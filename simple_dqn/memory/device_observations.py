"""The replay memory's observations on a GPU: only new observations and indexes travel there."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from simple_dqn.environment import Observations
from simple_dqn.memory.observations import check_size, observation_bytes

_RESERVE = 2 * 1024**3  # bytes of a GPU's memory that are left to networks and optimizer


class ObservationsOnDevice:
    """One tensor of observations on a GPU; an `ObservationStore`."""

    def __init__(
        self,
        device: str,
        num_games: int,
        lane_size: int,
        observation_shape: tuple[int, ...],
        observation_dtype: np.dtype[Any],
    ) -> None:
        """Allocate the tensor; a `UserError` says that the device has too little free memory."""
        self._device = torch.device(device)
        if self._device.type == "cuda":
            size = observation_bytes(observation_shape, observation_dtype)
            check_size(num_games * lane_size, size, free_bytes(device))
        self.num_games, self.lane_size = num_games, lane_size
        self.shape, self.dtype = observation_shape, observation_dtype
        dtype = torch.from_numpy(np.empty(0, observation_dtype)).dtype
        self._tensor = torch.empty(
            (num_games, lane_size, *observation_shape), dtype=dtype, device=self._device
        )
        self.nbytes = self._tensor.nbytes

    def write(self, position: int, observations: Observations) -> None:
        """Store one observation of every game; see `ObservationStore`."""
        self._tensor[:, position] = torch.from_numpy(observations)

    def read(
        self,
        games: npt.NDArray[np.int64],
        positions: npt.NDArray[np.int64],
        blank: npt.NDArray[np.bool_],
    ) -> Tensor:
        """Return observations as a tensor of their own; see `ObservationStore`."""
        steps = self._upload(games * self.lane_size + positions)
        observations = self._tensor.flatten(0, 1)[steps]
        one_per_observation = (*blank.shape, *[1] * len(self.shape))
        return observations.masked_fill_(self._upload(blank).view(one_per_observation), 0)

    def get(self, game: int, positions: npt.NDArray[np.int64]) -> Observations:
        """Return a copy of one game's observations; see `ObservationStore`."""
        observations: Observations = self._tensor[game, self._upload(positions)].cpu().numpy()
        return observations

    def put(self, game: int, position: int, values: Observations) -> None:
        """Put observations of one game back; see `ObservationStore`."""
        self._tensor[game, position : position + len(values)] = self._upload(values)

    def _upload(self, array: npt.NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)


def free_bytes(device: str) -> int:
    """Bytes of a GPU's memory that a replay memory may take."""
    return max(0, torch.cuda.mem_get_info(torch.device(device))[0] - _RESERVE)
