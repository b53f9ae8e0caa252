"""The games that a person sees: made from the settings of a run."""

import dataclasses

import numpy as np

from simple_dqn.agent import Network
from simple_dqn.environments.roms import Game
from simple_dqn.environments.visible_game import OwnGame, VisibleGame
from simple_dqn.errors import UserError
from simple_dqn.options.settings import Settings
from simple_dqn.run.environments import CONSOLES, make_environment
from simple_dqn.run.parts import history_length
from simple_dqn.watch.watched_game import WatchedGame


def make_console(args: Settings, game: Game, *, random_seed: int) -> VisibleGame:
    """Make the game that a person sees, for `make_watched_game`.

    Raises:
        UserError: the game cannot be shown.
    """
    seed = _two_seeds(random_seed)[0]
    if args.environment in CONSOLES:
        return CONSOLES[args.environment](args, game, seed)
    own = make_environment(dataclasses.replace(args, num_games=1), game, 1, training=False)
    if not hasattr(own, "render"):
        raise UserError(
            f"{args.environment} cannot be shown; give it a method render() that returns a "
            "picture, uint8 (height, width, 3)"
        )
    return OwnGame(own, seed)


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
