"""The games that a person sees: made from the settings of a run."""

import dataclasses

import numpy as np

from simple_dqn.checkpoints.places import game_of
from simple_dqn.checkpoints.snapshot import Snapshot, check_game, check_same_actions
from simple_dqn.environments.roms import Game
from simple_dqn.environments.visible_game import OwnGame, VisibleGame
from simple_dqn.errors import UserError
from simple_dqn.options.settings import Settings
from simple_dqn.run.environments import CONSOLES, TEST_FRAMES, make_environment
from simple_dqn.run.parts import history_length
from simple_dqn.run.trained import load_network, look_inside
from simple_dqn.watch.mind import Mind
from simple_dqn.watch.watched_game import WatchedGame


def make_console(args: Settings, game: Game, *, random_seed: int) -> VisibleGame:
    """Make the game that a person sees, for `make_watched_game`."""
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
    snapshot: Snapshot | None,
    console: VisibleGame,
    *,
    random_seed: int,
    max_frames: int | None = None,
) -> tuple[WatchedGame, Mind | None]:
    """Let the network of a snapshot, if there is one, begin to play a game, with test's rules.

    Return the mind of the network, too. Without `max_frames` a game may last for ever.
    """
    shape = console.observation_shape
    network = load_network(args, snapshot, shape) if snapshot is not None else None
    game = WatchedGame(
        console,
        network,
        history_length=history_length(args, shape),
        frame_skip=args.frame_skip if args.environment == "ale" else 1,
        exploration_rate=args.exploration_rate_test,
        random_starts=args.random_starts,
        max_frames=max_frames,
        random_seed=_two_seeds(random_seed)[1],
    )
    if snapshot is None or network is None:
        return game, None
    check_same_actions(snapshot, game.action_meanings)
    return game, Mind(game, network, look_inside(args, snapshot, shape))


def play_network(settings: Settings, snapshot: Snapshot, seed: int) -> tuple[WatchedGame, Mind]:
    """Let the network of a snapshot begin to play its game, with test's rules and length."""
    game = game_of(settings)
    check_game(snapshot, game)
    console = make_console(settings, game, random_seed=seed)
    watched, mind = make_watched_game(
        settings, snapshot, console, random_seed=seed, max_frames=TEST_FRAMES
    )
    assert mind is not None
    return watched, mind


def _two_seeds(random_seed: int) -> list[int]:
    """Seeds of the game and of those who play, 31 bits each."""
    seeds = np.random.SeedSequence(random_seed).generate_state(2) >> 1
    return [int(seed) for seed in seeds]
