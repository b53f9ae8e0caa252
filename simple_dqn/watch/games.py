"""The games that a person sees: made from the settings of a run."""

import numpy as np

from simple_dqn.agent import Network
from simple_dqn.environments.roms import Game
from simple_dqn.environments.visible_game import VisibleGame
from simple_dqn.errors import UserError
from simple_dqn.options.settings import Settings
from simple_dqn.run.environments import CONSOLES
from simple_dqn.run.parts import history_length
from simple_dqn.watch.watched_game import WatchedGame


def make_console(args: Settings, game: Game, *, random_seed: int) -> VisibleGame:
    """Make the game that a person sees, for `make_watched_game`.

    Raises:
        UserError: the game cannot be shown.
    """
    if args.environment not in CONSOLES:
        name = args.environment
        raise UserError(f"an environment of your own, {name}, can be learned, but not shown")
    return CONSOLES[args.environment](args, game, _two_seeds(random_seed)[0])


def make_watched_game(
    args: Settings,
    console: VisibleGame,
    network: Network | None,
    *,
    random_seed: int,
    max_frames: int | None = None,
) -> WatchedGame:
    """Make a game that a person sees, with test's rules; None: it may last for ever."""
    return WatchedGame(
        console,
        network,
        history_length=history_length(args, console.observation_shape),
        frame_skip=args.frame_skip if args.environment == "ale" else 1,
        exploration_rate=args.exploration_rate_test,
        random_starts=args.random_starts,
        max_frames=max_frames,
        random_seed=_two_seeds(random_seed)[1],
    )


def _two_seeds(random_seed: int) -> list[int]:
    """Seeds of the game and of those who play, 31 bits each."""
    seeds = np.random.SeedSequence(random_seed).generate_state(2) >> 1
    return [int(seed) for seed in seeds]
