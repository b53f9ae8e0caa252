"""Command lines: parsing that ends in one clear line, presets, and what a command line names."""

import argparse
import logging
import os
import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import NoReturn

from simple_dqn.environments import roms as games
from simple_dqn.errors import UserError
from simple_dqn.run import snapshot


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Tell what is wrong and exit with status 2."""
        self.exit(2, f"{self.prog}: {message}; --help tells the options\n")


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Tells defaults, but not that there is none."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default is None else super()._get_help_string(action)


def make_parser(command: str, description: str) -> argparse.ArgumentParser:
    """Make the parser of a command."""
    return _Parser(
        prog=f"simple-dqn {command}",
        description=description,
        allow_abbrev=False,
        formatter_class=_HelpFormatter,
    )


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Parse; options come from the command line, else a preset, else the parser's defaults."""
    args = parser.parse_intermixed_args(arguments)
    if args.preset is not None:
        args = parser.parse_intermixed_args([*_preset_arguments(args), *arguments])
    logging.basicConfig(
        level=args.log_level, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", force=True
    )
    return args


def parse_with_snapshot(
    parser: argparse.ArgumentParser, arguments: Sequence[str]
) -> tuple[argparse.Namespace, snapshot.Snapshot]:
    """Parse; what neither command line nor preset say is as in the run that wrote the snapshot."""
    path = parser.parse_intermixed_args(arguments).snapshot
    loaded = snapshot.read_snapshot(path)
    parser.set_defaults(**loaded.header["options"])
    return parse(parser, arguments), loaded


def _preset_arguments(args: argparse.Namespace) -> list[str]:
    """The options of a preset, as they would stand on a command line."""
    presets = resources.files("simple_dqn.run") / "presets"
    own = presets / f"{args.preset}.toml"
    try:
        text = own.read_text() if own.is_file() else Path(args.preset).read_text()
        values = tomllib.loads(text)
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as error:
        names = ", ".join(sorted(Path(str(p)).stem for p in presets.iterdir()))
        raise UserError(
            f"cannot read preset {args.preset}: {error}; give a TOML file or one of: {names}"
        ) from error
    for name, value in values.items():
        if name not in vars(args) or not isinstance(value, bool | int | float | str):
            raise UserError(
                f"preset {args.preset}: {name} = {value!r} is no option; see --help for their names"
            )
    return [
        f"--{name}={str(value).lower() if isinstance(value, bool) else value}"
        for name, value in values.items()
    ]


def find_game(args: argparse.Namespace) -> games.Game:
    """Find what `args.game` means in the chosen kind of environment."""
    if args.environment == "gym":
        return games.Game(args.game, Path(), "")
    return games.find_game(args.game, root() / "roms")


def root() -> Path:
    """Where roms/, results/ and snapshots/ are: the repository for its scripts, else here."""
    return Path(os.environ.get("SIMPLE_DQN_ROOT", "."))


def check_game(loaded: snapshot.Snapshot, path: Path, game: games.Game) -> None:
    """See that a snapshot is of a game.

    Raises:
        UserError: it is of another one.
    """
    if (loaded.header["game"], loaded.header["rom_md5"]) != (game.name, game.rom_md5):
        raise UserError(
            f"{path} is a snapshot of {loaded.header['game']}, not of {game.name} "
            f"({game.rom_path}); use the game it was trained on"
        )
