"""The kinds of environment: one entry of `ENVIRONMENTS` each, and people's own classes."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from simple_dqn.environment import Environment
from simple_dqn.environments.atari import NO_LIMIT, ALEEnvironment
from simple_dqn.environments.console import Console, ConsoleEnvironment
from simple_dqn.environments.gym import GymConsole, GymEnvironment
from simple_dqn.environments.roms import Game
from simple_dqn.environments.visible_game import VisibleGame
from simple_dqn.errors import UserError
from simple_dqn.options.settings import Settings
from simple_dqn.run.classes import find_class

TEST_FRAMES = 18_000  # 5 minutes; Mnih et al. 2015, Methods, Evaluation procedure
# A Gymnasium game in tests lasts no longer, so that a test ends; Gymnasium's own Atari games are
# cut there, too.
TEST_STEPS = 27_000


class Kind(NamedTuple):
    """A kind of environment.

    Attributes:
        make: takes the options, the game, a number of threads and whether it is for training;
            makes the environment.
        make_console: takes the options, the game and a seed; makes the game that a person sees.
    """

    make: Callable[[Settings, Game, int, bool], Environment]
    make_console: Callable[[Settings, Game, int], VisibleGame]


def kind_of(settings: Settings) -> Kind:
    """Find the kind of environment that `--environment` names.

    Raises:
        UserError: there is no such kind, or no such class.
    """
    name = settings.environment
    if name in ENVIRONMENTS:
        return ENVIRONMENTS[name]
    make_own: Callable[..., Environment] = find_class("environment", name, ENVIRONMENTS)
    if not (isinstance(make_own, type) and issubclass(make_own, Environment)):
        raise UserError(f"{name} is not a subclass of simple_dqn.environment.Environment")
    own: Callable[..., Environment] = make_own

    def make(args: Settings, game: Game, threads: int, training: bool) -> Environment:  # noqa: ARG001
        options = environment_options(args)
        try:
            return own(game=game.name, num_games=args.num_games, **options)
        except TypeError as error:
            raise UserError(f"cannot make environment {name}: {error}") from error

    def make_console(args: Settings, game: Game, seed: int) -> VisibleGame:  # noqa: ARG001
        raise UserError(f"an environment of your own, {name}, can be learned, but not shown")

    return Kind(make, make_console)


def environment_options(settings: Settings) -> dict[str, Any]:
    """What `--environment_options` says, by name."""
    options: dict[str, Any] = json.loads(settings.environment_options)
    return options


def _make_ale(args: Settings, game: Game, threads: int, training: bool) -> Environment:
    settings: dict[str, Any] = {
        "rom_path": game.rom_path,
        "num_games": args.num_games,
        "screen_shape": (args.screen_height, args.screen_width),
        "frame_skip": args.frame_skip,
        "repeat_action_probability": args.repeat_action_probability,
        "minimal_action_set": args.minimal_action_set,
        "random_starts": args.random_starts,
        "lost_life_is_terminal": training,
        "max_frames": NO_LIMIT if training else TEST_FRAMES,
    }
    if args.color_averaging:
        return ConsoleEnvironment(**settings, color_averaging=True)
    return ALEEnvironment(**settings, num_threads=threads)


def _make_ale_console(args: Settings, game: Game, seed: int) -> VisibleGame:
    return Console(
        rom_path=game.rom_path,
        screen_shape=(args.screen_height, args.screen_width),
        repeat_action_probability=args.repeat_action_probability,
        minimal_action_set=args.minimal_action_set,
        color_averaging=args.color_averaging,
        seed=seed,
        sound=True,
    )


def _make_gym(
    args: Settings,
    game: Game,
    threads: int,  # noqa: ARG001
    training: bool,
) -> Environment:
    return GymEnvironment(
        environment_id=game.name,
        num_games=args.num_games,
        screen_shape=(args.screen_height, args.screen_width),
        rendered=args.observations == "pictures",
        options=environment_options(args),
        max_steps=None if training else TEST_STEPS,
    )


def _make_gym_console(args: Settings, game: Game, seed: int) -> VisibleGame:
    return GymConsole(
        environment_id=game.name,
        screen_shape=(args.screen_height, args.screen_width),
        rendered=args.observations == "pictures",
        options=environment_options(args),
        seed=seed,
    )


ENVIRONMENTS = {
    "ale": Kind(_make_ale, _make_ale_console),
    "gym": Kind(_make_gym, _make_gym_console),
}
