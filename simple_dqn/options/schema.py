"""The schema of what a file may say: which names, of which types, in which ranges.

A snapshot, a training state or a preset may come from a stranger, and everybody can compute a
checksum that fits. So each value is checked when the file is read. A file sets only options that a
snapshot keeps: no file names, nothing that decides what is overwritten. Arrays are checked where
their shapes are known, in `networks/weights.py` for example.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from simple_dqn.errors import UserError
from simple_dqn.options.settings import KEPT

FORMAT_VERSION = 1
_GONE = {"init_weights"}  # options that older versions kept in snapshots

_Count = Annotated[int, Meta(ge=0, le=10**18)]
_Word = Annotated[str, Meta(pattern=r"(?a)^\w{1,40}\Z")]
_Label = Annotated[str, Meta(pattern=r"^[\w.+=-]+\Z")]
_Version = Annotated[str, Meta(pattern=r"(?a)^[\w.+!-]{1,100}\Z")]


class Piece(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A piece of a replay memory: the steps `start` to `stop` - 1 of the run, of every lane."""

    # Of the file, in the folder of the snapshots.
    name: Annotated[str, Meta(pattern=r"^[^/\\\0]+_\d+\.memory\Z")]
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    start: _Count
    stop: _Count


class _Memory(msgspec.Struct, forbid_unknown_fields=True):
    total: _Count
    pieces: Annotated[list[Piece], Meta(max_length=1_000_000)]


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    format_version: Annotated[int, Meta(ge=1, le=FORMAT_VERSION)]
    game: Annotated[str, Meta(pattern=r"(?a)^[\w.:/-]{1,200}\Z")]
    rom_md5: Annotated[str, Meta(pattern=r"^([0-9a-f]{32})?\Z")]
    label: _Label | None
    action_meanings: Annotated[list[_Word], Meta(min_length=1, max_length=256)]  # a byte's numbers
    network: Annotated[str, Meta(pattern=r"(?a)^[\w,]{1,100}\Z")]
    epoch: _Count
    total_train_steps: _Count
    weight_updates: _Count
    replay_memory_count: _Count
    total_time: Annotated[float, Meta(ge=0, le=1e12)]  # seconds
    options: dict[str, Any]
    versions: dict[str, _Version]
    memory: _Memory | UnsetType = UNSET  # older versions did not write this field


def check_header(header: object) -> dict[str, Any]:
    """Check the header of a snapshot or of a training state, and return it."""
    try:
        checked: dict[str, Any] = msgspec.to_builtins(msgspec.convert(header, _Header))
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(" - at `$.")
        raise UserError(f"{place.rstrip('`')}: {what}" if place else what) from error
    checked["options"] = check_options(checked["options"])
    options = {row.name: row.default for row in KEPT} | checked["options"]  # the older ones' too
    if options["environment"] == "ale" and not re.fullmatch("[a-z0-9_]+", checked["game"]):
        raise UserError(f"game: {checked['game']!r} is not the name of an Atari game")
    most = options["replay_size"] // options["num_games"]
    for piece in checked.get("memory", {"pieces": []})["pieces"]:
        if not 0 < piece["stop"] - piece["start"] <= most:
            raise UserError(f"memory: {piece['name']} does not hold 1 to {most} steps of a game")
    return checked


def check_options(values: Mapping[str, object]) -> dict[str, Any]:
    """Check the options that a snapshot or a preset gives: the one way into a run from a file.

    They are returned as JSON holds them: a tuple is a list.
    """
    rows = {row.name: row for row in KEPT}
    for name in values.keys() - rows.keys() - _GONE:
        raise UserError(f"{name} = {values[name]!r} is not an option that a file may set")
    checked = {name: rows[name].check(values[name]) for name in values if name in rows}
    return {name: list(v) if isinstance(v, tuple) else v for name, v in checked.items()}
