"""Replay memory: every screen stored once, states put together when sampled.

Mnih et al. 2015, Methods, Training algorithm: experience <s, a, r, s'> is stored, and minibatches
are drawn uniformly at random.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import psutil

from simple_dqn.errors import UserError

# How a step ended.
CONTINUES, TERMINAL, CUT = np.uint8(0), np.uint8(1), np.uint8(2)


class Minibatch(NamedTuple):
    """Transitions <s, a, r, s'>, each field with the minibatch as its first axis.

    Attributes:
        prestates: uint8 (batch, history, height, width), oldest screen first; a view of the
            memory's buffer, valid until the next `get_minibatch`.
        actions: int64 (batch,).
        rewards: float32 (batch,), raw.
        poststates: like prestates, one step later: the last screen is the new one. Where
            `terminals` is True there is no such state, and its last screen is zero.
        terminals: bool (batch,).
    """

    prestates: npt.NDArray[np.uint8]
    actions: npt.NDArray[np.int64]
    rewards: npt.NDArray[np.float32]
    poststates: npt.NDArray[np.uint8]
    terminals: npt.NDArray[np.bool_]


class ReplayMemory:
    """One circular lane of steps per game; all lanes are written in step.

    Entry i of a lane is what the agent saw, did and got at one step: the screen, the action taken
    on seeing it, the reward that followed, and whether the game ended there. So a state is the
    entries i-3 to i, and its successor the entries i-2 to i+1. Screens from before the start of a
    game (or, in training, of a life) are zeroed in a state, as in DeepMind's TransitionTable.lua.

    Memory: screen + 6 bytes a step, 7,062 at 84x84; 1,000,000 steps take 7.06 GB. The operating
    system hands it out as it is filled.
    """

    def __init__(
        self,
        *,
        size: int,
        num_games: int,
        history_length: int,
        screen_shape: tuple[int, int],
        batch_size: int,
    ) -> None:
        """Allocate the lanes.

        Args:
            size: steps of all games together; rounded down to a multiple of `num_games`.
            num_games: lanes.
            history_length: screens in a state.
            screen_shape: (height, width).
            batch_size: transitions in a minibatch.

        Raises:
            UserError: the free memory is too small, or the size for the batch.
        """
        height, width = screen_shape
        bytes_per_step = height * width + 6
        free = psutil.virtual_memory().available
        if size * bytes_per_step > free:
            raise UserError(
                f"a replay memory of {size:,} steps takes {size * bytes_per_step / 1e9:.2f} GB, "
                f"but {free / 1e9:.2f} GB are free; "
                f"--replay_size {int(free * 0.9) // bytes_per_step} fits"
            )
        self.lane_size = size // num_games
        if self.lane_size <= history_length or size < batch_size:
            raise UserError(
                f"--replay_size {size} is too small: it must hold a minibatch of {batch_size} and "
                f"more than {history_length} steps of each of {num_games} games"
            )
        self.count = 0  # steps stored in each lane
        self._position = 0  # where each lane is written next
        self._num_cuts = 0  # entries marked CUT
        self._history_length = history_length
        self._screens = np.empty((num_games, self.lane_size, height, width), np.uint8)
        self._actions = np.zeros((num_games, self.lane_size), np.uint8)
        self._rewards = np.zeros((num_games, self.lane_size), np.float32)
        self._endings = np.zeros((num_games, self.lane_size), np.uint8)
        # (batch, history + 1, height, width): pre- and poststates overlap in it.
        self._batch = np.empty((batch_size, history_length + 1, height, width), np.uint8)

    def __len__(self) -> int:
        """Steps stored, of all games together."""
        return self.count * len(self._screens)

    def add(
        self,
        screens: npt.NDArray[np.uint8],
        actions: npt.NDArray[np.int64],
        rewards: npt.NDArray[np.float32],
        terminals: npt.NDArray[np.bool_],
        game_overs: npt.NDArray[np.bool_],
    ) -> None:
        """Store one step of every game; each argument has the games as its first axis.

        Args:
            screens: uint8 (num_games, height, width), seen before acting.
            actions: what was done.
            rewards: raw rewards that followed.
            terminals: no reward can follow.
            game_overs: the next screen belongs to another game.
        """
        position = self._position
        endings = np.where(terminals, TERMINAL, np.where(game_overs, CUT, CONTINUES))
        self._num_cuts += int(np.count_nonzero(endings == CUT))
        self._num_cuts -= int(np.count_nonzero(self._endings[:, position] == CUT))
        self._screens[:, position] = screens
        self._actions[:, position] = actions
        self._rewards[:, position] = rewards
        self._endings[:, position] = endings
        self._position = (position + 1) % self.lane_size
        self.count = min(self.count + 1, self.lane_size)

    def cut(self) -> None:
        """Break off the games where they are: what is added next does not follow on them."""
        if not self.count:
            return
        last = self._endings[:, self._position - 1]
        self._num_cuts += int(np.count_nonzero(last == CONTINUES))
        last[last == CONTINUES] = CUT

    def can_sample(self) -> bool:
        """Whether a minibatch can be drawn: surely some transition is legal."""
        _, number = self._first_and_number()
        return number * len(self._screens) > self._num_cuts

    def get_minibatch(self, rng: np.random.Generator) -> Minibatch:
        """Draw transitions uniformly from all legal ones, with replacement."""
        games, positions = self._sample_indexes(rng)
        return self._gather(games, positions)

    def _first_and_number(self) -> tuple[int, int]:
        """The oldest legal position of a lane, and how many follow on it up to the newest legal.

        NB! The newest step is not legal yet: its successor's screen comes with the next `add`.
        In a full lane neither are the oldest history_length - 1: earlier screens of their states
        were overwritten. In a lane that never was full, nothing came before position 0.
        """
        if self.count < self.lane_size:
            return 0, self.count - 1
        return self._position + self._history_length - 1, self.lane_size - self._history_length

    def _sample_indexes(
        self, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Draw games and positions, each int64 (batch,), again until none is a cut step."""
        first, number = self._first_and_number()
        num_games, batch_size = len(self._screens), len(self._batch)
        draws = rng.integers(num_games * number, size=batch_size)
        while True:
            games, offsets = np.divmod(draws, number)
            positions = (first + offsets) % self.lane_size
            illegal = self._endings[games, positions] == CUT
            num_illegal = np.count_nonzero(illegal)
            if not num_illegal:
                return games, positions
            draws[illegal] = rng.integers(num_games * number, size=num_illegal)

    def _gather(self, games: npt.NDArray[np.int64], positions: npt.NDArray[np.int64]) -> Minibatch:
        """Put the transitions that begin at the given steps together."""
        history = self._history_length
        window = (positions[:, None] + np.arange(1 - history, 2)) % self.lane_size
        steps = games[:, None] * self.lane_size + window  # (batch, history + 1)
        screens = self._screens.reshape(-1, *self._screens.shape[2:])
        np.take(screens, steps, axis=0, out=self._batch, mode="clip")

        endings = self._endings.reshape(-1)[steps]  # (batch, history + 1)
        # A screen is blank if its own or a later step before the state's last one ended a game,
        # or if the lane did not reach back that far.
        ended = endings[:, : history - 1] != CONTINUES
        if self.count < self.lane_size:
            ended |= window[:, : history - 1] > positions[:, None]
        blank = np.logical_or.accumulate(ended[:, ::-1], axis=1)[:, ::-1]
        rows, columns = np.nonzero(blank)
        self._batch[rows, columns] = 0
        terminals = endings[:, history - 1] == TERMINAL
        self._batch[terminals, history] = 0
        return Minibatch(
            prestates=self._batch[:, :-1],
            actions=self._actions[games, positions].astype(np.int64),
            rewards=self._rewards[games, positions],
            poststates=self._batch[:, 1:],
            terminals=terminals,
        )
