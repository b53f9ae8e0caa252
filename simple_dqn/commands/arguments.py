"""From a parsed command line to what a command's function takes.

The value of an option is the command line's, else the preset's, else that of the run that wrote
the snapshot, else the default.
"""

import logging
import re
import shlex
import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from simple_dqn.checkpoints.choice import choose_snapshot
from simple_dqn.checkpoints.snapshot import Snapshot, read_snapshot, snapshot_of_run
from simple_dqn.errors import UserError
from simple_dqn.files import read_text
from simple_dqn.options.commands import ALLOW_IMPORT, PRESET, Command
from simple_dqn.options.schema import check_options
from simple_dqn.options.settings import KEPT, OF_NETWORK, OPTIONS, Settings

logger = logging.getLogger(__name__)

_OF_MODULES = ("game", "environment", "distributional", "target", "memory")
_OF_LOADED = (*OF_NETWORK, "history_length", "minimal_action_set")
_FILE_IN_JSON = re.compile(r'/|\\\\|\.[a-z]\w*"')  # a slash, a backslash or an ending
_NOT_OF_THE_PAPER = {"environment", "random_seed"}


def arguments_of(command: Command, given: Mapping[str, Any]) -> dict[str, Any]:
    """Make the arguments of a command's function from what its command line gives, by name.

    These are the command's own options, with a snapshot that was read in place of its path, and
    `settings` if the command takes options of a run.
    """
    settings_names = {row.name for row in OPTIONS}
    own = {row.name: given.get(row.name, row.default) for row in command.own}
    if not command.roles:
        return own
    named = settings_names - {row.name for row in command.own if not row.positional}
    options = {name: value for name, value in given.items() if name in named}
    snapshot = None
    if "snapshot" in own:
        if own["snapshot"] is None:
            own["snapshot"] = choose_snapshot()
        if isinstance(own["snapshot"], Path):
            if "epochs" in own and own["snapshot"].suffix == ".csv":  # of `record`
                own["snapshot"] = snapshot_of_run(own["snapshot"], *own["epochs"][-1:])
            snapshot = read_snapshot(own["snapshot"])
        else:
            options["game"] = own["snapshot"]
        own["snapshot"] = snapshot
    options |= {name: own.pop(name) for name in own.keys() & named}
    settings = merge(
        options,
        preset=given.get(PRESET.name),
        snapshot=snapshot,
        keep_seed=not command.draws_games,
        allow_import=own.pop(ALLOW_IMPORT.name, False),
    )
    return {"settings": settings, **own}


def merge(
    given: Mapping[str, Any],
    *,
    preset: str | None = None,
    snapshot: Snapshot | None = None,
    keep_seed: bool = True,
    allow_import: bool = False,
) -> Settings:
    """Put the values of options together.

    The snapshot is that of the run that is resumed, or whose network is used; `keep_seed` says
    whether its random seed counts. Only with `allow_import` may it name a Python module.
    """
    values: dict[str, Any] = {}
    weights = given.get("load_weights")
    if isinstance(weights, str | Path):  # the network is theirs, where nothing else is said
        options = read_snapshot(Path(weights)).header["options"]
        values = {name: options[name] for name in _OF_LOADED if name in options}
    if snapshot is not None:
        values = {name: snapshot.header[name] for name in ("game", "label")}
        options = snapshot.header["options"]  # an older version's lack those that are new
        values |= {k: v for k, v in options.items() if keep_seed or k != "random_seed"}
    if preset is not None:
        values |= read_preset(preset)
    for name in _OF_MODULES:
        module, colon, _ = str(values.get(name, "")).rpartition(":")  # `module:Id`, `module:Class`
        if colon and name not in given and not allow_import:
            consent = "--allow_import true" if snapshot else f"--{name} {values[name]} yourself"
            raise UserError(
                f"the {name} in {snapshot.path if snapshot else weights or preset} is "
                f"{values[name]}, which would run the Python module {module}; if you trust that "
                f"module, give {consent}"
            )
    options = str(values.get("environment_options"))
    if _FILE_IN_JSON.search(options) and "environment_options" not in given and not allow_import:
        raise UserError(
            f"the environment_options in {snapshot.path if snapshot else preset} name a file; if "
            f"that is as it should be, give --environment_options {shlex.quote(options)} yourself"
        )
    values |= given
    if snapshot is not None and values.get("pixel_mean") == "auto":  # the network has its number
        values["pixel_mean"] = snapshot.header["options"].get("pixel_mean", 0.0)
    return Settings(**values)


def read_preset(name: str) -> dict[str, Any]:
    """Read the values of options from a preset of the package, or from a TOML file.

    The schema of a snapshot's options checks them: a file name, `overwrite` and the like are given
    on the command line alone.
    """
    if name == "nature":  # the defaults, also where a snapshot says otherwise
        return {row.name: row.default for row in KEPT if row.name not in _NOT_OF_THE_PAPER}
    presets = resources.files("simple_dqn.options") / "presets"
    own = presets / f"{name}.toml"
    names = ", ".join(sorted(["nature", *(Path(str(p)).stem for p in presets.iterdir())]))
    what = f"a TOML file or one of: {names}"
    text = own.read_text() if own.is_file() else read_text(Path(name), what)
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is a ValueError
        raise UserError(f"cannot read preset {name}: {error}; give {what}") from error
    try:
        return check_options(values)
    except UserError as error:
        raise type(error)(f"preset {name}: {error}; --help shows the options") from error
