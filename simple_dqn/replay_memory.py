"""Replay memory: every observation stored once, states put together when they are sampled.

Mnih et al. 2015, Methods, Training algorithm: experience <s, a, r, s'> is stored, and minibatches
are drawn from it uniformly at random.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from simple_dqn.environment import Observations
from simple_dqn.errors import UserError
from simple_dqn.returns import NStepReturn

# How a step ended. CUT: the game broke off with this observation; what followed on it is not known.
CONTINUES, TERMINAL, CUT = np.uint8(0), np.uint8(1), np.uint8(2)


class Minibatch(NamedTuple):
    """Transitions <s, a, r, s'>, each field with the minibatch as its first axis.

    The target of a transition is `returns + discounts * value of poststates`, whatever n is.

    Attributes:
        prestates: (batch, history, *observation_shape), oldest observation first; an array or,
            where the observations are kept on a GPU, a tensor. Valid until the next minibatch.
        actions: int64 (batch,).
        returns: float64 (batch,), sum of the n clipped rewards from the action on, each discounted
            once per step, up to the end of the game (or, in training, of the life).
        discounts: float64 (batch,), discount_rate^n, or 0 where the game ended within the n steps.
        poststates: like prestates, n steps later. Observations from after an end are zero. Where
            a game was cut within the n steps, n is the number of steps before the cut.
        weights: float32 (batch,), above 0 to 1, how much each transition counts.
        indexes: int64 (batch,), where in the memory each transition begins: game * lane_size +
            position.
    """

    prestates: Any
    actions: npt.NDArray[np.int64]
    returns: npt.NDArray[np.float64]
    discounts: npt.NDArray[np.float64]
    poststates: Any
    weights: npt.NDArray[np.float32]
    indexes: npt.NDArray[np.int64]


class ObservationStore(Protocol):
    """Where the replay memory keeps its observations: in RAM or on a GPU, see `memory/`."""

    num_games: int  # lanes
    lane_size: int  # steps in a lane
    shape: tuple[int, ...]  # of one observation
    dtype: np.dtype[Any]
    nbytes: int  # of all observations

    def write(self, position: int, observations: Observations) -> None:
        """Store one observation of every game, (num_games, *observation_shape), at a position."""

    def read(
        self,
        games: npt.NDArray[np.int64],
        positions: npt.NDArray[np.int64],
        blank: npt.NDArray[np.bool_],
    ) -> Any:
        """Return (*games.shape, *observation_shape), zero where `blank`: an array or a tensor."""

    def get(self, game: int, positions: npt.NDArray[np.int64]) -> Observations:
        """Return a copy of one game's observations, (n, *observation_shape)."""

    def put(self, game: int, position: int, values: Observations) -> None:
        """Put observations of one game back from a position on, (n, *observation_shape)."""


class ReplayMemory:
    """One circular lane of steps per game; all lanes are written in step.

    Entry i of a lane is what the agent saw, did and got at one step: the observation, the action
    taken on seeing it, the reward that followed, and whether the game ended there. So a state is
    the entries i-3 to i, and its successor the entries i-2 to i+1.

    Memory: observation + 6 bytes a step, 7,062 bytes for a screen of 84x84; 1,000,000 of these
    steps take 7.06 GB.

    Attributes:
        num_games: number of lanes.
        lane_size: steps that a lane holds.
        observation_shape: shape of one observation.
        observation_dtype: dtype of the observations.
        total: steps that were ever added to each lane.
        observations: store of the observations. Entries of the lanes, (num_games, lane_size), are
            `actions`, uint8; `rewards`, float32, unclipped; `endings`, uint8.
    """

    def __init__(
        self,
        *,
        observations: ObservationStore,
        history_length: int,
        batch_size: int,
        n_step_return: NStepReturn,
    ) -> None:
        """Allocate the lanes.

        Args:
            observations: store for the observations; its lanes are the memory's lanes.
            history_length: observations in a state.
            batch_size: transitions in a minibatch.
            n_step_return: sums rewards; its n_step is the distance from a state to its successor.

        Raises:
            UserError: the memory is too small for a minibatch or a state.
        """
        n_step = n_step_return.n_step
        self.num_games, self.lane_size = observations.num_games, observations.lane_size
        self.observation_shape = observations.shape
        self.observation_dtype = observations.dtype
        shape = self.num_games, self.lane_size
        if self.lane_size < history_length + n_step or np.prod(shape) < batch_size:
            raise UserError(
                f"--replay_size is too small with {self.lane_size} steps for each of "
                f"{self.num_games} games: the replay memory must hold a minibatch of "
                f"{batch_size}, and at least {history_length + n_step} steps of each game"
            )
        self.total = 0
        self._num_cuts = 0  # entries marked CUT
        self.observations = observations
        self.actions = np.zeros(shape, np.uint8)
        self.rewards = np.zeros(shape, np.float32)
        self.endings = np.zeros(shape, np.uint8)
        self._history_length = history_length
        self._batch_size = batch_size
        self._n_step = n_step
        self._n_step_return = n_step_return
        self._equal_weights = np.ones(batch_size, np.float32)

    @property
    def count(self) -> int:
        """Steps stored in each lane."""
        return min(self.total, self.lane_size)

    @property
    def _position(self) -> int:
        """Where each lane is written next."""
        return self.total % self.lane_size

    def __len__(self) -> int:
        """Steps stored, of all games together."""
        return self.count * len(self.actions)

    @property
    def nbytes(self) -> int:
        """Bytes of all steps, those to come included."""
        arrays = (self.observations, self.actions, self.rewards, self.endings)
        return sum(array.nbytes for array in arrays)

    def add(
        self,
        observations: Observations,
        actions: npt.NDArray[np.int64],
        rewards: npt.NDArray[np.float32],
        terminals: npt.NDArray[np.bool_],
        game_overs: npt.NDArray[np.bool_],
    ) -> None:
        """Store one step of every game; each argument has the games as its first axis.

        Args:
            observations: (num_games, *observation_shape), seen before acting.
            actions: actions taken, 0 to 255.
            rewards: unclipped rewards that followed.
            terminals: True where no reward can follow.
            game_overs: True where the next observation belongs to another game. Without a
                terminal, the game was cut, and what this step's action did is not learned.
        """
        position = self._position
        endings = np.where(terminals, TERMINAL, np.where(game_overs, CUT, CONTINUES))
        self._num_cuts += int(np.count_nonzero(endings == CUT))
        self._num_cuts -= int(np.count_nonzero(self.endings[:, position] == CUT))
        self.observations.write(position, observations)
        self.actions[:, position] = actions
        self.rewards[:, position] = rewards
        self.endings[:, position] = endings
        self.total += 1

    def count_cuts(self) -> None:
        """Count the entries that are marked CUT, after entries were restored from disk."""
        self._num_cuts = int(np.count_nonzero(self.endings == CUT))

    def cut(self) -> None:
        """Break off the games where they are: what is added next does not follow on them."""
        if not self.count:
            return
        last = self.endings[:, self._position - 1]
        self._num_cuts += int(np.count_nonzero(last == CONTINUES))
        last[last == CONTINUES] = CUT

    def can_sample(self) -> bool:
        """Whether a minibatch can be drawn: whether surely some transition is legal."""
        _, number = self._first_and_number()
        return number * len(self.actions) > self._num_cuts

    def get_minibatch(self, rng: np.random.Generator, step: int) -> Minibatch:  # noqa: ARG002
        """Draw transitions uniformly from all legal ones, with replacement.

        Args:
            rng: source of the draws.
            step: training steps so far; uniform draws do not depend on the step, see
                `PrioritizedReplayMemory`.
        """
        return self._gather(self._sample_indexes(rng), self._equal_weights)

    def update_priorities(
        self, minibatch: Minibatch, errors: Callable[[], npt.NDArray[np.float32]]
    ) -> None:
        """Learn the errors of a minibatch that was just trained on; here, do nothing."""

    def priorities(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return what a memory remembers of priorities, by name; here, nothing."""
        return {}

    def set_priorities(self, priorities: dict[str, npt.NDArray[np.generic]]) -> None:
        """Take over what `priorities` gave for the same steps; here, nothing."""

    def _first_and_number(self) -> tuple[int, int]:
        """The oldest legal position of a lane, and how many positions from there on are legal.

        NB! The newest n_step steps are not legal yet, because their successors are still to come.
        In a full lane the oldest history_length - 1 steps are not legal either, because earlier
        observations of their states were overwritten. In a lane that never was full, nothing came
        before position 0.
        """
        if self.count < self.lane_size:
            return 0, self.count - self._n_step
        number = self.lane_size - self._history_length - self._n_step + 1
        return self._position + self._history_length - 1, number

    def _sample_indexes(self, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Draw the starts of a minibatch, int64 (batch,), again where a game was cut."""
        first, number = self._first_and_number()
        num_draws = len(self.actions) * number
        draws = rng.integers(num_draws, size=self._batch_size)
        while True:
            games, offsets = np.divmod(draws, number)
            positions = (first + offsets) % self.lane_size
            illegal = self.endings[games, positions] == CUT
            num_illegal = np.count_nonzero(illegal)
            if not num_illegal:
                indexes: npt.NDArray[np.int64] = games * self.lane_size + positions
                return indexes
            draws[illegal] = rng.integers(num_draws, size=num_illegal)

    def _gather(
        self, indexes: npt.NDArray[np.int64], weights: npt.NDArray[np.float32]
    ) -> Minibatch:
        """Put the transitions together that begin at the given indexes, int64 (batch,).

        The transition of step i reads a window of its lane; here history_length is 4, n_step 2:

            entry       i-3   i-2   i-1    i    i+1   i+2
            prestate     x     x     x     x
            poststate                x     x     x     x
            rewards                        x     x

        Observations of an earlier game (or life) are blank, as in DeepMind's TransitionTable.lua:

            the game ended with step i-2      prestate   0  0  x  x
            the lane began with step i-1      prestate   0  0  x  x
            step i+1 was terminal             poststate  x  x  x  0

        Where the game was cut with entry i+1, the poststate is the entries i-2 to i+1.
        """
        history, n_step = self._history_length, self._n_step
        games, positions = (part[:, None] for part in np.divmod(indexes, self.lane_size))
        window = (positions + np.arange(1 - history, n_step + 1)) % self.lane_size
        endings = self.endings[games, window]  # (batch, history + n_step)
        steps = slice(history - 1, history - 1 + n_step)  # entries from prestate to poststate
        # Whether the game was cut before each step, or ended with it, bool (batch, n_step).
        cut = np.logical_or.accumulate(endings[:, steps] == CUT, axis=1)
        ended = np.logical_or.accumulate((endings[:, steps] == TERMINAL) & ~cut, axis=1)
        cut &= ~ended
        returns, discounts = self._n_step_return(self.rewards[games, window[:, steps]], ended, cut)

        blank = endings != CONTINUES
        if self.count < self.lane_size:
            blank |= window > positions  # NB! wrapped around to entries never written
        blank[:, history - 1 :] = False
        blank = np.logical_or.accumulate(blank[:, ::-1], axis=1)[:, ::-1]
        blank[:, history:] = ended
        successor = n_step  # (batch, history + n_step, ...): pre- and poststates overlap
        if cut.any():  # (batch, 2 * history, ...): some poststates come sooner
            ahead = np.hstack([np.zeros((len(cut), 1), np.int64), n_step - cut.sum(1)[:, None]])
            entries = (ahead[:, :, None] + np.arange(history)).reshape(len(cut), -1)
            window, blank = (np.take_along_axis(a, entries, axis=1) for a in (window, blank))
            successor = history
        observations = self.observations.read(np.broadcast_to(games, window.shape), window, blank)
        return Minibatch(
            prestates=observations[:, :history],
            actions=self.actions[games, positions][:, 0].astype(np.int64),
            returns=returns,
            discounts=discounts,
            poststates=observations[:, successor:],
            weights=weights,
            indexes=indexes,
        )
