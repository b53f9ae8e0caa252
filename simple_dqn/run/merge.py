"""From a parsed command line to what a command's function takes.

The value of an option is the command line's, else the preset's, else that of the run that wrote
the snapshot, else the default.
"""

import logging
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from simple_dqn.errors import UserError
from simple_dqn.run.command_line import PRESET, Command
from simple_dqn.run.options import KEPT, OPTIONS, Settings
from simple_dqn.run.snapshot import Snapshot, read_snapshot

logger = logging.getLogger(__name__)

_NAMES = {row.name for row in OPTIONS if not row.positional}
_NOT_OF_THE_PAPER = {"environment", "random_seed"}


def arguments_of(command: Command, given: Mapping[str, Any]) -> dict[str, Any]:
    """Make the arguments of a command's function.

    Args:
        command: that was called.
        given: on its command line, by name.

    Returns:
        The command's own options; besides, if it takes the options of a run, `settings`. In place
        of a snapshot's path stands the snapshot.

    Raises:
        UserError: a snapshot or a preset cannot be read, or an option has a value that it cannot
            have.
    """
    settings_names = {row.name for row in OPTIONS}
    own = {row.name: given.get(row.name, row.default) for row in command.own}
    if not command.run_options:
        return own
    options = {name: value for name, value in given.items() if name in settings_names}
    snapshot = None
    if "snapshot" in own:
        if isinstance(own["snapshot"], Path):
            snapshot = read_snapshot(own["snapshot"])
        else:
            options["game"] = own["snapshot"]
        own["snapshot"] = snapshot
    options |= {name: own.pop(name) for name in own.keys() & settings_names}
    settings = merge(
        options,
        preset=given.get(PRESET.name),
        snapshot=snapshot,
        not_from_snapshot=command.not_from_snapshot,
    )
    return {"settings": settings, **own}


def merge(
    given: Mapping[str, Any],
    *,
    preset: str | None = None,
    snapshot: Snapshot | None = None,
    not_from_snapshot: frozenset[str] = frozenset(),
) -> Settings:
    """Put the values of options together.

    Args:
        given: on the command line.
        preset: name or file of a preset.
        snapshot: of the run that goes on, or whose network is used.
        not_from_snapshot: options whose values in the snapshot do not count.

    Raises:
        UserError: the preset cannot be read, or an option has a value that it cannot have.
    """
    values: dict[str, Any] = {}
    if snapshot is not None:
        values = {name: snapshot.header[name] for name in ("game", "label")}
        # A header of an older version may have options that are gone, and lack those that are new.
        kept = {row.name for row in KEPT} - not_from_snapshot
        values |= {k: v for k, v in snapshot.header["options"].items() if k in kept}
    if preset is not None:
        values |= read_preset(preset)
    return Settings(**(values | dict(given)))


def read_preset(name: str) -> dict[str, Any]:
    """Read the values of options from a preset that comes along, or from a TOML file.

    Raises:
        UserError: there is no such file, or it names something that is no option.
    """
    if name == "nature":  # the defaults, also where a snapshot says otherwise
        return {row.name: row.default for row in KEPT if row.name not in _NOT_OF_THE_PAPER}
    presets = resources.files("simple_dqn.run") / "presets"
    own = presets / f"{name}.toml"
    try:
        text = own.read_text() if own.is_file() else Path(name).read_text()
        values = tomllib.loads(text)
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as error:
        stems = sorted(["nature", *(Path(str(file)).stem for file in presets.iterdir())])
        raise UserError(
            f"cannot read preset {name}: {error}; give a TOML file or one of: {', '.join(stems)}"
        ) from error
    for option, value in values.items():
        if option not in _NAMES or isinstance(value, dict):
            raise UserError(
                f"preset {name}: {option} = {value!r} is no option; see --help for their names"
            )
    return values
