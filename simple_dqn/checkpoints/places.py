"""Where a run finds its game and puts its files."""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path

from simple_dqn.environments import roms
from simple_dqn.environments.roms import Game
from simple_dqn.errors import UserError
from simple_dqn.files import check_writable
from simple_dqn.options.settings import Settings


def root() -> Path:
    """Where roms/, results/ and snapshots/ are: the repository for its scripts, else here."""
    return Path(os.environ.get("SIMPLE_DQN_ROOT", "."))


def game_of(settings: Settings) -> Game:
    """Return what `settings.game` means in the chosen kind of environment."""
    if settings.environment == "ale":
        return roms.find_game(settings.game, root() / "roms")
    return Game(settings.game, Path(), "")


def snapshots_in(folder: Path) -> list[Path]:
    """The networks in a folder, by name."""
    paths = sorted(folder.glob("*.safetensors"))
    return [path for path in paths if not path.stem.endswith(".training")]


def snapshots_like(text: str) -> list[Path]:
    """The snapshots whose names are like a text, the nearest first, at most three."""
    name = Path(text).name.removesuffix(".safetensors").lower()
    folders = (root() / "snapshots", Path(text).parent)
    found = {path.stem: path for folder in folders for path in snapshots_in(folder)}
    near = difflib.get_close_matches(name, found, n=3, cutoff=0.7)
    near += [stem for stem in found if name and stem.startswith(name) and stem not in near]
    return [found[stem] for stem in near[:3]]


def check_output(path: Path, option: str, endings: Sequence[str], *, overwrite: bool) -> None:
    """Raise a `UserError` if a file is there already, cannot be written or has another ending.

    `option` is the one that chooses the file.
    """
    check_writable(path, option)
    if path.exists() and not overwrite:
        raise UserError(f"{path} is there already; give {option} FILE, or --overwrite true")
    if path.suffix.lower() not in endings:
        names = " or ".join(endings)
        raise UserError(f"cannot write {path}: give {option} a name that ends in {names}")
