"""Atari games: finding the ROM that a user means, and human-normalized scores.

ALE ends the process on a missing or unknown ROM, so everything is checked here first.
"""

import csv
import difflib
import functools
import hashlib
import json
import re
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from simple_dqn.errors import UserError

# ALE knows the ROMs of these games, but cannot play them.
_FOR_TWO_PLAYERS = {"combat", "joust", "maze_craze", "warlords"}


class Game(NamedTuple):
    """A game: its name or id (`space_invaders`) and, in Atari, its ROM file and the ROM's MD5."""

    name: str
    rom_path: Path
    rom_md5: str


def find_game(text: str, roms_dir: Path) -> Game:
    """Find a game by its name, ROM file or environment id, such as `ALE/Pong-v5`.

    ROMs in the user's folder `roms_dir` are used instead of those of ale-py. A `UserError` says
    that there is no such game or file, or that ALE does not know the ROM.
    """
    path = Path(text)
    # NB! A file `pong` in the current folder does not hide the game.
    if path.suffix.lower() in {".bin", ".rom", ".a26"} or (path.name != text and path.is_file()):
        return _read_rom(path)
    by_squashed_name = {name.replace("_", ""): name for name in game_names()}
    wanted = re.sub(r"^ALE/|(NoFrameskip|Deterministic)?(-v\d+)?$", "", text)
    wanted = re.sub(r"[^a-z0-9]", "", wanted.lower())
    if wanted not in by_squashed_name:
        playable = [key for key, name in by_squashed_name.items() if name not in _FOR_TWO_PLAYERS]
        near = difflib.get_close_matches(wanted, playable, n=3, cutoff=0.7)
        hint = " or ".join(by_squashed_name[name] for name in near)
        raise UserError(
            f"unknown game {text!r}; "
            + (f"did you mean {hint}? " if hint else "try pong, breakout or space_invaders; ")
            + "a Gymnasium environment needs its id and --environment gym"
        )
    name = by_squashed_name[wanted]
    rom = roms_dir / f"{name}.bin"
    if not rom.exists():
        rom = Path(str(resources.files("ale_py"))) / "roms" / f"{name}.bin"
    game = _read_rom(rom)
    if game.name != name:
        raise UserError(f"{rom} is the ROM of {game.name}; rename or remove it")
    return game


class Scores(NamedTuple):
    """The published scores of a game."""

    random: float
    human: float
    nature: float  # of DQN after 50 million steps; nan where there is none


def human_normalized_score(game: str, score: float) -> float | None:
    """100 (score - random) / (human - random), or None for a game without a published human score.

    Mnih et al. 2015, Methods, Evaluation procedure.
    """
    if (scores := published_scores().get(game)) is None:
        return None
    return 100 * (score - scores.random) / (scores.human - scores.random)


def game_names() -> list[str]:
    """The names of all games that ALE knows."""
    return sorted(Path(file).stem for file in _known_roms().values())


@functools.cache
def published_scores() -> dict[str, Scores]:
    """Scores by game.

    Of random play and a human for 57 games with no-op starts: Wang et al. 2016 (Dueling network
    architectures, appendix); of DQN for 49 of them: Mnih et al. 2015 (extended data table 2).
    """
    table = resources.files("simple_dqn.environments").joinpath("scores.csv").read_text()
    return {
        row.pop("game"): Scores(**{name: float(score or "nan") for name, score in row.items()})
        for row in csv.DictReader(table.splitlines())
    }


def _known_roms() -> dict[str, str]:
    """MD5 -> file name of each ROM that ALE supports."""
    table = resources.files("ale_py").joinpath("roms", "md5.json").read_text()
    return {md5: file for file, md5 in json.loads(table).items()}


def _read_rom(path: Path) -> Game:
    try:
        rom = path.read_bytes()
    except OSError as error:
        hint = "give a game's name (pong) or a ROM file that can be read"
        raise UserError(f"cannot read ROM file {path}: {error.strerror}; {hint}") from error
    md5 = hashlib.md5(rom, usedforsecurity=False).hexdigest()
    file = _known_roms().get(md5)
    if file is None:
        raise UserError(
            f"{path} ({len(rom)} bytes, MD5 {md5}) is not a ROM that ALE knows: truncated, altered "
            "or another version; give the game's name to use the ROM that comes with ale-py"
        )
    name = Path(file).stem
    if name in _FOR_TWO_PLAYERS:
        raise UserError(f"{name} needs two players, ALE has one; choose another game, such as pong")
    return Game(name, path.resolve(), md5)
