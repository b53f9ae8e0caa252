"""Where the replay memory keeps its observations in the computer's memory."""

from typing import Any

import numpy as np
import numpy.typing as npt

from simple_dqn.environment import Observations
from simple_dqn.errors import UserError
from simple_dqn.memory.available import available_bytes

_OTHER_BYTES_PER_STEP = 6  # action, reward and ending


class ObservationsInMemory:
    """One array of observations, and a buffer for those that are read; an `ObservationStore`.

    The operating system hands the memory out as the array is filled.
    """

    def __init__(
        self,
        num_games: int,
        lane_size: int,
        observation_shape: tuple[int, ...],
        observation_dtype: np.dtype[Any],
    ) -> None:
        """Allocate the array; a `UserError` says that the free memory is too small."""
        size = observation_bytes(observation_shape, observation_dtype)
        check_size(num_games * lane_size, size, available_bytes())
        self.num_games, self.lane_size = num_games, lane_size
        self.shape, self.dtype = observation_shape, observation_dtype
        shape = (num_games, lane_size, *observation_shape)
        self._array: npt.NDArray[Any] = np.empty(shape, observation_dtype)
        self.nbytes = self._array.nbytes
        self._read: npt.NDArray[Any] = np.empty((0, 0, *observation_shape), observation_dtype)

    def write(self, position: int, observations: Observations) -> None:
        """Store one observation of every game; see `ObservationStore`."""
        self._array[:, position] = observations

    def read(
        self,
        games: npt.NDArray[np.int64],
        positions: npt.NDArray[np.int64],
        blank: npt.NDArray[np.bool_],
    ) -> npt.NDArray[Any]:
        """Return observations, valid until the next `read`; see `ObservationStore`."""
        if self._read.shape[: games.ndim] != games.shape:
            self._read = np.empty((*games.shape, *self.shape), self.dtype)
        steps = games * self.lane_size + positions
        np.take(self._array.reshape(-1, *self.shape), steps, axis=0, out=self._read, mode="clip")
        self._read[np.nonzero(blank)] = 0
        return self._read

    def get(self, game: int, positions: npt.NDArray[np.int64]) -> Observations:
        """Return a copy of one game's observations; see `ObservationStore`."""
        observations: Observations = self._array[game, positions]
        return observations

    def put(self, game: int, position: int, values: Observations) -> None:
        """Put observations of one game back; see `ObservationStore`."""
        self._array[game, position : position + len(values)] = values


def observation_bytes(observation_shape: tuple[int, ...], observation_dtype: npt.DTypeLike) -> int:
    """Bytes of one observation."""
    return int(np.prod(observation_shape)) * np.dtype(observation_dtype).itemsize


def check_size(size: int, bytes_per_observation: int, free: int) -> None:
    """Check that a replay memory of `size` steps fits into `free` bytes; or say which would."""
    bytes_per_step = bytes_per_observation + _OTHER_BYTES_PER_STEP
    if size * bytes_per_step > free:
        raise UserError(
            f"a replay memory of {size:,} steps takes {size * bytes_per_step / 1e9:.2f} GB, "
            f"but {free / 1e9:.2f} GB are free; "
            f"--replay_size {int(free * 0.9) // bytes_per_step} fits"
        )
