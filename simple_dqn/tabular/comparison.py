"""Environments that are known whole: what can be computed in them, and how far learning comes."""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import numpy.typing as npt

from simple_dqn.agent import Network
from simple_dqn.environments.gym import GymEnvironment, action_names, make_gymnasium
from simple_dqn.errors import UserError
from simple_dqn.options.settings import Settings
from simple_dqn.run import parts
from simple_dqn.run.environments import environment_options
from simple_dqn.tabular.q_table import Array, Process, Table, best_actions, process_of

NUM_GAMES = 1_000  # of which the mean return is told
_LONGEST_GAME = 1_000  # steps, where the environment has no time limit of its own
_MOST_STATES = 5_000


class Known(NamedTuple):
    """An environment that is known whole.

    Attributes:
        name: its id.
        table: of its transitions, see `tabular.process_of`.
        process: the Markov decision process of the table.
        is_random: whether some action has more than one outcome.
        starts: int64 (1,000,), states in which games start.
        reachable: bool (S,), whether a game can come to the state and goes on from there.
        longest: steps after which a game is cut.
        action_meanings: names of the actions.
        cells: one letter for each state, (rows, columns), if the states are the cells of a map.
    """

    name: str
    table: Table
    process: Process
    is_random: bool
    starts: npt.NDArray[np.int64]
    reachable: npt.NDArray[np.bool_]
    longest: int
    action_meanings: tuple[str, ...]
    cells: npt.NDArray[np.str_] | None


class Progress(NamedTuple):
    """How far learned values are from the optimal ones.

    Attributes:
        steps: played so far.
        largest_error: largest |Q - Q*| of a reachable state and an action.
        optimal_share: share of the reachable states in which the greedy action is optimal.
    """

    steps: int
    largest_error: float
    optimal_share: float


def known(settings: Settings) -> Known:
    """Read what an environment tells of itself.

    Raises:
        UserError: it has no table of its transitions, or too many states.
    """
    name = settings.game
    game: gymnasium.Env[Any, Any] = make_gymnasium(
        gymnasium.make, name, {}, environment_options(settings)
    )
    table = getattr(game.unwrapped, "P", None)
    space = game.observation_space
    if not isinstance(table, dict) or not isinstance(space, gymnasium.spaces.Discrete):
        raise UserError(
            f"{name} has no table P of its transitions; give simple_dqn/GridWorld-v0, "
            "FrozenLake-v1, CliffWalking-v1 or Taxi-v4"
        )
    if len(table) > _MOST_STATES:
        raise UserError(f"{name} has {len(table):,} states; {_MOST_STATES:,} are the most")
    process = process_of(table)
    first = settings.random_seed or 0
    starts = np.array([game.reset(seed=seed)[0] for seed in range(first, first + NUM_GAMES)])
    limit = game.spec.max_episode_steps if game.spec is not None else None
    found = Known(
        name=name,
        table=table,
        process=process,
        is_random=any(len(outcomes) > 1 for row in table.values() for outcomes in row.values()),
        starts=starts,
        reachable=_reachable(process, starts),
        longest=limit or _LONGEST_GAME,
        action_meanings=action_names(name, game, len(table[0])),
        cells=_cells(game.unwrapped, len(table)),
    )
    game.close()
    return found


def progress(
    values: Array, optimal: Array, reachable: npt.NDArray[np.bool_], steps: int
) -> Progress:
    """Compare values with Q*, both float64 (S, A)."""
    greedy = values[reachable].argmax(axis=1)
    right = best_actions(optimal[reachable])[np.arange(len(greedy)), greedy]
    error = np.abs(values - optimal)[reachable].max()
    return Progress(steps, float(error), float(right.mean()))


def returns(known: Known, policy: Array, seed: int) -> Array:
    """Play a game from each start; return the sums of the games' rewards, float64 (1,000,).

    Args:
        known: the environment.
        policy: float64 (S, A), probability of each action.
        seed: of the actions and of what is random in the environment.
    """
    rng = np.random.default_rng(seed)
    scores = np.zeros(len(known.starts))
    actions_until = policy.cumsum(axis=1)
    for game, start in enumerate(known.starts):
        state = int(start)
        for for_action, for_outcome in rng.random((known.longest, 2)):
            action = int(np.searchsorted(actions_until[state, :-1], for_action, side="right"))
            outcomes = known.table[state][action]
            index, left = 0, for_outcome - outcomes[0][0]
            while left >= 0 and index < len(outcomes) - 1:
                index += 1
                left -= outcomes[index][0]
            _, state, reward, terminal = outcomes[index]
            scores[game] += reward
            if terminal:
                break
    return scores


def learn(
    settings: Settings, network: Network, *, batch_size: int, replay_size: int, pieces: int
) -> Iterator[tuple[int, Array]]:
    """Let the toolkit's own Agent learn; yield the steps so far and the values of all states.

    The exploration rate is that of the settings; with 1 all actions are random, from which
    Q-learning learns the optimal policy all the same.

    Args:
        settings: of the run.
        network: that learns: a `QTable` or a `DeepQNetwork`.
        batch_size: transitions in a minibatch.
        replay_size: steps in the replay memory; with 2 it holds the last transition alone, so that
            the Agent's loop is Q-learning without a replay memory.
        pieces: number of pieces of the training; values are told after each of them.
    """
    args = dataclasses.replace(settings, batch_size=batch_size)
    environment = GymEnvironment(
        environment_id=args.game,
        num_games=1,
        screen_shape=(args.screen_height, args.screen_width),
        options=environment_options(args),
    )
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
    coming = sorted(set(starts.tolist()))
    while coming:
        reachable[coming] = True
        after = (process.transitions[coming] > 0).any(axis=(0, 1))
        coming = np.flatnonzero(after & ~reachable).tolist()
    return reachable


def _cells(game: Any, num_states: int) -> npt.NDArray[np.str_] | None:
    """The map: Grid World's `map`, FrozenLake's `desc`, CliffWalking's `shape`; None: no map."""
    lines = getattr(game, "map", None)
    if lines is not None:
        return np.array([list(line) for line in lines])
    desc = getattr(game, "desc", None)
    if isinstance(desc, np.ndarray) and desc.size == num_states:
        return desc.astype(np.str_)
    shape = getattr(game, "shape", None)
    if isinstance(shape, tuple) and np.prod(shape) == num_states:
        cliff = getattr(game, "_cliff", np.zeros(shape, np.bool_))
        return np.where(cliff, "#", ".")
    return None
