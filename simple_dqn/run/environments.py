"""The environments and the games to be shown: a function by name each, or people's own classes."""

import dataclasses
import json
import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from simple_dqn.environment import Environment, TimeStep
from simple_dqn.environments.atari import NO_LIMIT, ALEEnvironment
from simple_dqn.environments.console import Console, ConsoleEnvironment
from simple_dqn.environments.gym import GymConsole, GymEnvironment, call
from simple_dqn.environments.gym_observations import to_numbers
from simple_dqn.environments.roms import Game
from simple_dqn.environments.visible_game import VisibleGame
from simple_dqn.errors import UserError
from simple_dqn.options.settings import Settings
from simple_dqn.run.classes import find_class

logger = logging.getLogger(__name__)

TEST_FRAMES = 18_000  # 5 minutes; Mnih et al. 2015, Methods, Evaluation procedure
# A Gymnasium game in tests lasts no longer, so that a test ends; Gymnasium's own Atari games are
# cut there, too.
TEST_STEPS = 27_000
_OF_ATARI = (
    *("frame_skip", "repeat_action_probability", "minimal_action_set", "color_averaging"),
    "random_starts",
)


def make_environment(
    args: Settings, game: Game, num_threads: int, *, training: bool
) -> Environment:
    """Make the games of training or of tests, of the kind that `--environment` names.

    In tests there are not more of them than are to be played.
    """
    if not training and args.test_games:
        args = dataclasses.replace(args, num_games=min(args.num_games, args.test_games))
    for name in _OF_ATARI if args.environment != "ale" and not training else ():
        if getattr(args, name) != getattr(Settings, name):
            logger.warning("--%s does nothing: it is for --environment ale", name)
    make = find_class("environment", args.environment, ENVIRONMENTS)
    if args.environment in ENVIRONMENTS:
        environment: Environment = make(args, game, num_threads, training)
        return environment
    make = partial(make, game=game.name, num_games=args.num_games, **environment_options(args))
    environment = call(f"cannot make environment {args.environment}", make)
    if not isinstance(environment, Environment):
        raise UserError(
            f"{args.environment} is not a subclass of simple_dqn.environment.Environment"
        )
    return _checked(args.environment, environment)


def _checked(name: str, environment: Environment) -> Environment:
    """Let calls that fail, or give what cannot be learned, name the environment and the step."""
    for attribute in Environment.__annotations__:
        if not hasattr(environment, attribute):
            raise UserError(f"{name} has no {attribute}; set it in __init__()")
    step, games = 0, (environment.num_games,)
    shapes = ((*games, *environment.observation_shape), games, games, games)
    dtypes = [np.dtype(t) for t in (environment.observation_dtype, np.float32, np.bool_, np.bool_)]

    def arrays(given: Any) -> list[Any]:
        return list(map(to_numbers, TimeStep._fields, given, shapes, dtypes))

    read: dict[str, Callable[[Any], Any]] = {
        "restart": lambda observations: arrays([observations])[0],
        "observe": lambda time_step: TimeStep(*arrays(time_step)),
    }

    def checked(method: str, function: Callable[..., Any], *arguments: Any) -> Any:
        nonlocal step
        step += method == "act"
        what = f"{name} failed in {method}() at step {step}"
        return call(what, lambda: read.get(method, lambda given: given)(function(*arguments)))

    for method in ("restart", "act", "observe", "render"):
        if hasattr(environment, method):
            setattr(environment, method, partial(checked, method, getattr(environment, method)))
    return environment


def environment_options(settings: Settings) -> dict[str, Any]:
    """What `--environment_options` says, by name."""
    options: dict[str, Any] = json.loads(settings.environment_options)
    return options


def _make_ale(args: Settings, game: Game, num_threads: int, training: bool) -> Environment:
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
    return ALEEnvironment(**settings, num_threads=num_threads)


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


def _make_gym(args: Settings, game: Game, _: int, training: bool) -> Environment:
    return GymEnvironment(
        num_games=args.num_games, max_steps=None if training else TEST_STEPS, **_of_gym(args, game)
    )


def _make_gym_console(args: Settings, game: Game, seed: int) -> VisibleGame:
    return GymConsole(seed=seed, **_of_gym(args, game))


def _of_gym(args: Settings, game: Game) -> dict[str, Any]:
    return {
        "environment_id": game.name,
        "screen_shape": (args.screen_height, args.screen_width),
        "rendered": args.observations == "pictures",
        "options": environment_options(args),
    }


# By the value of --environment: what is played in training and tests, and what a person sees.
ENVIRONMENTS: dict[str, Callable[[Settings, Game, int, bool], Environment]] = {
    "ale": _make_ale,
    "gym": _make_gym,
}
CONSOLES: dict[str, Callable[[Settings, Game, int], VisibleGame]] = {
    "ale": _make_ale_console,
    "gym": _make_gym_console,
}
