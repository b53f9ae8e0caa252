"""Replay memory: every screen stored once, states put together when sampled.

Mnih et al. 2015, Methods, Training algorithm: experience <s, a, r, s'> is stored, and minibatches
are drawn uniformly at random.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import psutil

from simple_dqn.errors import UserError
from simple_dqn.memory.sum_tree import SumTree

# How a step ended.
CONTINUES, TERMINAL, CUT = np.uint8(0), np.uint8(1), np.uint8(2)

_LEAST_PRIORITY = 1e-3  # added to an error's size, so that each transition may be drawn again


class Minibatch(NamedTuple):
    """Transitions <s, a, r, s'>, each field with the minibatch as its first axis.

    Attributes:
        prestates: uint8 (batch, history, height, width), oldest screen first; an array or, where
            the screens are on a GPU, a tensor. Valid until the next `get_minibatches`.
        actions: int64 (batch,).
        rewards: float32 (batch, n_step), raw, of the action and the steps after it.
        poststates: like prestates, n_step steps later. Where the last of `terminals` is True there
            is no such state, and its screens after the end are zero.
        terminals: bool (batch, n_step): whether that step or one before it ended the game (or, in
            training, the life); later rewards belong to another one.
        weights: float32 (batch,), above 0 to 1, how much each transition counts; None: all alike.
        indexes: int64 (batch,), where `set_priorities` finds the transitions; None: nowhere.
    """

    prestates: Any
    actions: npt.NDArray[np.int64]
    rewards: npt.NDArray[np.float32]
    poststates: Any
    terminals: npt.NDArray[np.bool_]
    weights: npt.NDArray[np.float32] | None = None
    indexes: npt.NDArray[np.int64] | None = None


class ScreenStore(Protocol):
    """Where the replay memory keeps its screens: `Screens` or `DeviceScreens`.

    Attributes:
        nbytes: bytes that they take.
    """

    nbytes: int

    def write(self, position: int, screens: npt.NDArray[np.uint8]) -> None:
        """Store a screen of every lane, uint8 (num_games, height, width), at a position."""

    def read(
        self,
        games: npt.NDArray[np.int64],
        positions: npt.NDArray[np.int64],
        blank: npt.NDArray[np.bool_],
    ) -> Any:
        """Screens, zero where `blank`: uint8 (*games.shape, height, width), an array or tensor."""


class Screens:
    """Screens in the computer's memory: one array, and a buffer for what is read."""

    def __init__(self, num_games: int, lane_size: int, screen_shape: tuple[int, int]) -> None:
        """Allocate the array.

        Raises:
            UserError: the free memory is too small.
        """
        check_size(num_games * lane_size, screen_shape, psutil.virtual_memory().available)
        self._screens = np.empty((num_games, lane_size, *screen_shape), np.uint8)
        self.nbytes = self._screens.nbytes
        self._read = np.empty((0, 0, *screen_shape), np.uint8)

    def write(self, position: int, screens: npt.NDArray[np.uint8]) -> None:
        """Store a screen of every lane; see `ScreenStore`."""
        self._screens[:, position] = screens

    def read(
        self,
        games: npt.NDArray[np.int64],
        positions: npt.NDArray[np.int64],
        blank: npt.NDArray[np.bool_],
    ) -> npt.NDArray[np.uint8]:
        """Screens, valid until the next `read`; see `ScreenStore`."""
        if self._read.shape[: games.ndim] != games.shape:
            self._read = np.empty((*games.shape, *self._screens.shape[2:]), np.uint8)
        screens = self._screens.reshape(-1, *self._screens.shape[2:])
        steps = games * self._screens.shape[1] + positions
        np.take(screens, steps, axis=0, out=self._read, mode="clip")
        self._read[np.nonzero(blank)] = 0
        return self._read


def check_size(size: int, screen_shape: tuple[int, int], free: int) -> None:
    """Tell whether so many steps fit into so many free bytes.

    Raises:
        UserError: they do not.
    """
    bytes_per_step = screen_shape[0] * screen_shape[1] + 6
    if size * bytes_per_step > free:
        raise UserError(
            f"a replay memory of {size:,} steps takes {size * bytes_per_step / 1e9:.2f} GB, "
            f"but {free / 1e9:.2f} GB are free; "
            f"--replay_size {int(free * 0.9) // bytes_per_step} fits"
        )


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
        n_step: int = 1,
        prioritized: bool = False,
        priority_exponent: float = 0.6,
        store: Callable[[int, int, tuple[int, int]], ScreenStore] = Screens,
    ) -> None:
        """Allocate the lanes.

        Args:
            size: steps of all games together; rounded down to a multiple of `num_games`.
            num_games: lanes.
            history_length: screens in a state.
            screen_shape: (height, width).
            batch_size: transitions in a minibatch.
            n_step: steps from a state to its successor in a minibatch.
            prioritized: draw transitions in proportion to priority^priority_exponent, the priority
                being the size of the error last seen (Schaul et al. 2016).
            priority_exponent: see prioritized; 0 would be uniform.
            store: makes the place for the screens of (num_games, lane_size, screen_shape).

        Raises:
            UserError: the size is too small for the batch, or the free memory for the size.
        """
        self.lane_size = size // num_games
        needed = history_length + n_step
        if self.lane_size < needed or size < batch_size:
            raise UserError(
                f"--replay_size {size} is too small: it must hold a minibatch of {batch_size} and "
                f"at least {needed} steps of each of {num_games} games"
            )
        self._screens = store(num_games, self.lane_size, screen_shape)
        self.count = 0  # steps stored in each lane
        self._position = 0  # where each lane is written next
        self._num_cuts = 0  # entries marked CUT
        self._history_length = history_length
        self._batch_size = batch_size
        self._n_step = n_step
        self._actions = np.zeros((num_games, self.lane_size), np.uint8)
        self._rewards = np.zeros((num_games, self.lane_size), np.float32)
        self._endings = np.zeros((num_games, self.lane_size), np.uint8)
        # By game and position: priority^exponent of the legal transitions, 0 of all others.
        self._priorities = SumTree(num_games * self.lane_size) if prioritized else None
        self._priority_exponent = priority_exponent
        self._highest_priority = 1.0  # for transitions that were never drawn

    def __len__(self) -> int:
        """Steps stored, of all games together."""
        return self.count * len(self._actions)

    @property
    def nbytes(self) -> int:
        """Bytes of all steps, those to come included."""
        small = (self._actions, self._rewards, self._endings)
        tree = self._priorities.nbytes if self._priorities is not None else 0
        return self._screens.nbytes + sum(array.nbytes for array in small) + tree

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
        self._screens.write(position, screens)
        self._actions[:, position] = actions
        self._rewards[:, position] = rewards
        self._endings[:, position] = endings
        self._position = (position + 1) % self.lane_size
        self.count = min(self.count + 1, self.lane_size)
        if self._priorities is not None:
            self._update_legal(self._priorities)

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
        return number * len(self._actions) > self._num_cuts * self._n_step

    def get_minibatches(
        self, rng: np.random.Generator, number: int, importance_exponent: float = 0.0
    ) -> list[Minibatch]:
        """Draw transitions from all legal ones, with replacement: uniformly or by priority.

        Drawing by priority is made up for by weights, w = (N P)^-importance_exponent divided by the
        largest of the minibatch, P being the probability of the transition (Schaul et al. 2016,
        section 3.4).
        """
        if self._priorities is not None:
            return self._prioritized_minibatches(self._priorities, rng, number, importance_exponent)
        batch = self._gather(*self._sample_indexes(rng, number * self._batch_size))
        return self._split(batch, number)

    def set_priorities(self, minibatch: Minibatch, errors: npt.NDArray[np.float32]) -> None:
        """Set the priorities of a minibatch by its errors, float (batch,).

        NB! Before the next `add`, while its transitions are legal.
        """
        assert self._priorities is not None
        assert minibatch.indexes is not None
        priorities = np.abs(errors.astype(np.float64)) + _LEAST_PRIORITY
        self._highest_priority = max(self._highest_priority, priorities.max())
        self._priorities[minibatch.indexes] = priorities**self._priority_exponent

    def _prioritized_minibatches(
        self, tree: SumTree, rng: np.random.Generator, number: int, importance_exponent: float
    ) -> list[Minibatch]:
        """Each minibatch draws once from each of batch_size equal parts of all priorities."""
        shares = (np.arange(self._batch_size) + rng.random((number, self._batch_size))).ravel()
        indexes = tree.find(shares / self._batch_size * tree.total)
        batch = self._gather(*np.divmod(indexes, self.lane_size))
        priorities = tree[indexes].reshape(number, self._batch_size)
        weights = (priorities / priorities.min(axis=1, keepdims=True)) ** -importance_exponent
        batch = batch._replace(weights=weights.ravel().astype(np.float32), indexes=indexes)
        return self._split(batch, number)

    def _update_legal(self, tree: SumTree) -> None:
        """Keep the tree to what `_first_and_number` calls legal after a new step."""
        newest = self._position - 1
        games = np.arange(len(self._actions))
        if self.count == self.lane_size:
            overwritten = (newest + np.arange(self._history_length)) % self.lane_size
            tree[(games[:, None] * self.lane_size + overwritten).ravel()] = 0.0
        if self.count > self._n_step:
            positions = np.full(len(games), (newest - self._n_step) % self.lane_size)
            legal = ~self._is_cut(games, positions)
            highest = self._highest_priority**self._priority_exponent
            tree[games * self.lane_size + positions] = np.where(legal, highest, 0.0)

    def _split(self, batch: Minibatch, number: int) -> list[Minibatch]:
        """Cut what was gathered together into minibatches."""
        rows = [slice(i * self._batch_size, (i + 1) * self._batch_size) for i in range(number)]
        return [
            Minibatch(
                batch.prestates[row],
                batch.actions[row],
                batch.rewards[row],
                batch.poststates[row],
                batch.terminals[row],
                None if batch.weights is None else batch.weights[row],
                None if batch.indexes is None else batch.indexes[row],
            )
            for row in rows
        ]

    def _first_and_number(self) -> tuple[int, int]:
        """The oldest legal position of a lane, and how many follow on it up to the newest legal.

        NB! The newest n_step steps are not legal yet: their successors' screens are to come. In a
        full lane neither are the oldest history_length - 1: earlier screens of their states were
        overwritten. In a lane that never was full, nothing came before position 0.
        """
        if self.count < self.lane_size:
            return 0, self.count - self._n_step
        number = self.lane_size - self._history_length - self._n_step + 1
        return self._position + self._history_length - 1, number

    def _sample_indexes(
        self, rng: np.random.Generator, size: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Draw games and positions, each int64 (size,), again until nothing is cut there."""
        first, number = self._first_and_number()
        num_games = len(self._actions)
        draws = rng.integers(num_games * number, size=size)
        while True:
            games, offsets = np.divmod(draws, number)
            positions = (first + offsets) % self.lane_size
            illegal = self._is_cut(games, positions)
            num_illegal = np.count_nonzero(illegal)
            if not num_illegal:
                return games, positions
            draws[illegal] = rng.integers(num_games * number, size=num_illegal)

    def _is_cut(
        self, games: npt.NDArray[np.int64], positions: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        """Whether games were cut between the given steps and their successors, (size,)."""
        steps = (positions[:, None] + np.arange(self._n_step)) % self.lane_size
        endings = self._endings[games[:, None], steps]  # (size, n_step)
        first = (endings != CONTINUES).argmax(axis=1)
        cut: npt.NDArray[np.bool_] = endings[np.arange(len(endings)), first] == CUT
        return cut

    def _gather(self, games: npt.NDArray[np.int64], positions: npt.NDArray[np.int64]) -> Minibatch:
        """Put the transitions that begin at the given steps together."""
        history, n_step = self._history_length, self._n_step
        games, positions = games[:, None], positions[:, None]
        # From the prestate's first screen to the poststate's last, (size, history + n_step).
        window = (positions + np.arange(1 - history, n_step + 1)) % self.lane_size
        steps = slice(history - 1, history - 1 + n_step)  # from prestate to poststate
        endings = self._endings[games, window]
        # A screen is blank if its own or a later step before the state's last one ended a game,
        # or if the lane did not reach back that far. A terminal state's successor is blank too.
        blank = endings != CONTINUES
        if self.count < self.lane_size:
            blank |= window > positions
        blank[:, history - 1 :] = False
        blank = np.logical_or.accumulate(blank[:, ::-1], axis=1)[:, ::-1]
        terminals = np.logical_or.accumulate(endings[:, steps] == TERMINAL, axis=1)
        blank[:, history:] = terminals
        # (size, history + n_step, height, width): pre- and poststates overlap in it.
        screens = self._screens.read(np.broadcast_to(games, window.shape), window, blank)
        return Minibatch(
            prestates=screens[:, :history],
            actions=self._actions[games, positions][:, 0].astype(np.int64),
            rewards=self._rewards[games, window[:, steps]],
            poststates=screens[:, n_step:],
            terminals=terminals,
        )
