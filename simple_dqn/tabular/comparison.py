"""How close learned values come to Q*, in an environment whose transitions are in a table."""

import dataclasses
from collections.abc import Iterator
from itertools import islice, pairwise
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import numpy.typing as npt

from simple_dqn.agent import Network
from simple_dqn.checkpoints.places import game_of
from simple_dqn.environments.grid_world import Table
from simple_dqn.environments.gym import action_names, make_gymnasium
from simple_dqn.errors import UserError
from simple_dqn.options.settings import Settings
from simple_dqn.run import parts
from simple_dqn.run.environments import environment_options, make_environment
from simple_dqn.tabular.value_iteration import (
    Array,
    Process,
    best_actions,
    policy_evaluation,
    process_of,
)

_NUM_STARTS = 1_000
_LONGEST_GAME = 1_000  # steps, where the environment has no time limit of its own
_MOST_STATES = 5_000


class TabularEnvironment(NamedTuple):
    """An environment whose transitions are in a table."""

    name: str
    process: Process
    is_random: bool  # some action has more than one outcome
    starts: npt.NDArray[np.int64]  # (1,000,), states in which games start
    reachable: npt.NDArray[np.bool_]  # (S,), a game can come to the state and continue from there
    longest: int  # steps after which a game is cut
    action_meanings: tuple[str, ...]
    map: npt.NDArray[np.str_] | None  # (rows, columns), a letter a state, if states are cells

    def value_of(self, policy: Array, discount_rate: float) -> float:
        """Return V(start), the mean discounted return of a game that is cut at its longest."""
        iterations = policy_evaluation(*self.process, discount_rate, policy)
        for before, values in pairwise(islice(iterations, self.longest + 1)):
            if np.abs(values - before).max() <= 1e-10:
                break
        return float((policy * values).sum(axis=1)[self.starts].mean())


class Comparison(NamedTuple):
    """How far learned values are from the optimal ones, over the reachable states."""

    steps: int  # played so far
    largest_error: float  # largest |Q - Q*| of a state and an action
    optimal_share: float  # share of the states in which the greedy action is optimal


def read_environment(settings: Settings) -> TabularEnvironment:
    """Read an environment's table and draw its starts."""
    name = settings.game
    game = make_gymnasium(name, environment_options(settings))
    table = getattr(game.unwrapped, "P", None)
    if not isinstance(table, dict) or not isinstance(
        game.observation_space, gymnasium.spaces.Discrete
    ):
        raise UserError(
            f"{name} has no table P of its transitions; give simple_dqn/GridWorld-v0, "
            "FrozenLake-v1, CliffWalking-v1 or Taxi-v4"
        )
    if len(table) > _MOST_STATES:
        raise UserError(f"{name} has {len(table):,} states; {_MOST_STATES:,} are the most")
    process = process_of(table)
    first = (settings.random_seed or 0) % 2**30
    starts = np.array([game.reset(seed=seed)[0] for seed in range(first, first + _NUM_STARTS)])
    limit = game.spec.max_episode_steps if game.spec is not None else None
    game.close()
    return TabularEnvironment(
        name=name,
        process=process,
        is_random=any(len(outcomes) > 1 for row in table.values() for outcomes in row.values()),
        starts=starts,
        reachable=_reachable(process, starts),
        longest=limit or _LONGEST_GAME,
        action_meanings=action_names(name, game, len(table[0])),
        map=_map_of(game.unwrapped, table),
    )


def compare(
    values: Array, optimal: Array, reachable: npt.NDArray[np.bool_], steps: int
) -> Comparison:
    """Compare values after so many steps with Q*, both float64 (S, A)."""
    greedy = values[reachable].argmax(axis=1)
    right = best_actions(optimal[reachable])[np.arange(len(greedy)), greedy]
    error = np.abs(values - optimal)[reachable].max()
    return Comparison(steps, float(error), float(right.mean()))


def learn(
    settings: Settings, network: Network, *, batch_size: int, replay_size: int, pieces: int
) -> Iterator[tuple[int, Array]]:
    """Let the toolkit's own Agent learn; yield the steps so far and the values of all states.

    The training has so many pieces; values are yielded before the first and after each. A replay
    memory of size 2 holds the last transition alone: the Agent's loop is then Q-learning without a
    replay memory. With exploration rate 1 all actions are random, from which Q-learning learns the
    optimal policy all the same.
    """
    args = dataclasses.replace(settings, batch_size=batch_size)
    environment = make_environment(args, game_of(args), 1, training=True)
    memory = parts.make_memory(args, replay_size, environment, parts.choose_threads(args))
    seed = args.random_seed or 0
    agent = parts.make_agent(args, environment, environment, memory, network, seed)
    states = np.eye(environment.observation_shape[0], dtype=np.uint8)[:, None] * np.uint8(255)
    yield 0, network.predict(states).astype(np.float64)
    for piece in range(1, pieces + 1):
        agent.train(piece, args.train_steps // pieces)
        yield agent.total_train_steps, network.predict(states).astype(np.float64)
    environment.close()


def _reachable(process: Process, starts: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    reachable = np.zeros(len(process.rewards), np.bool_)
    coming = np.unique(starts)
    while len(coming):
        reachable[coming] = True
        after = (process.transitions[coming] > 0).any(axis=(0, 1))
        coming = np.flatnonzero(after & ~reachable)
    return reachable


def _map_of(game: Any, table: Table) -> npt.NDArray[np.str_] | None:
    """The letters of Grid World and FrozenLake, or of CliffWalking's shape; else None."""
    letters, shape = getattr(game, "desc", None), getattr(game, "shape", None)
    if isinstance(letters, np.ndarray) and letters.size == len(table):
        return letters.astype(np.str_)
    if not isinstance(shape, tuple) or np.prod(shape) != len(table):
        return None
    outcomes = [outcome for row in table.values() for each in row.values() for outcome in each]
    goals = [after for _, after, _, terminal in outcomes if terminal]
    return np.where(np.isin(range(len(table)), goals), "*", "#").reshape(shape)
