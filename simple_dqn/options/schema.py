"""The schema of what a file may say: which names, of which types, in which ranges.

A snapshot, a training state or a preset may come from a stranger, and a checksum does not help
there, since everybody can compute one. So each value is checked here when the file is read. Options
are checked by the rows of the table in `options.py`, and only those that a snapshot keeps are
taken: no file names, nothing that decides what is overwritten. Arrays are checked where their
shapes are known: weights and training states in `networks/weights.py`, the steps of a memory in
`checkpoints/on_disk.py`, a person's steps in `memory/experience.py`.
"""

import re
from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping
from typing import Any

from simple_dqn.errors import UserError
from simple_dqn.options.settings import KEPT, OPTIONS, integer, number

FORMAT_VERSION = 1
MOST_ACTIONS = 256  # the replay memory keeps an action in a byte
_LABEL = OPTIONS[1]
_COUNT = integer(0, 10**18)
_GONE = {"init_weights"}  # options that older versions kept in snapshots
_OPTIONAL = frozenset({"memory"})  # fields that older versions did not write

Check = Callable[[Any], Any]


def check_header(header: object) -> dict[str, Any]:
    """Check the header of a snapshot or of a training state.

    Returns:
        The header, each value as its check returns it.

    Raises:
        UserError: the header is not one that this tool writes.
    """
    try:
        checked = _record(_HEADER, optional=_OPTIONAL)(header)
    except ArgumentTypeError as error:
        raise UserError(str(error)) from error
    options = {row.name: row.default for row in KEPT} | checked["options"]  # the older ones' too
    if options["environment"] == "ale" and not re.fullmatch("[a-z0-9_]+", checked["game"]):
        raise UserError(f"game: {checked['game']!r} is no name of an Atari game")
    lane_size = options["replay_size"] // options["num_games"]
    for piece in checked.get("memory", {"pieces": []})["pieces"]:
        if piece["stop"] - piece["start"] > lane_size:
            raise UserError(f"memory: {piece['name']} holds more steps than the replay memory")
    return checked


def check_options(values: Mapping[str, object]) -> dict[str, Any]:
    """Check the options that a snapshot or a preset gives: the one way into a run from a file.

    Returns:
        The options as JSON holds them: a tuple is a list.

    Raises:
        UserError: a name is no option that a snapshot keeps.
        OptionError: an option has a value that it cannot have.
    """
    rows = {row.name: row for row in KEPT}
    checked = {}
    for name, value in values.items():
        if name in _GONE:
            continue
        if name not in rows:
            raise UserError(f"{name} = {value!r} is no option that a file may set")
        now = rows[name].check(value)
        checked[name] = list(now) if isinstance(now, tuple) else now
    return checked


def _record(
    fields: Mapping[str, Check], optional: frozenset[str] = frozenset()
) -> Callable[[Any], dict[str, Any]]:
    """A JSON object with these fields, and no others."""

    def check(value: object) -> dict[str, Any]:
        given = _object(value)
        wrong = (fields.keys() - optional - given.keys()) | (given.keys() - fields.keys())
        for name in sorted(wrong):
            raise UserError(f"{name} is {'not known' if name in given else 'missing'}")
        checked = {}
        for name, field in given.items():
            try:
                checked[name] = fields[name](field)
            except (ArgumentTypeError, UserError) as error:
                raise UserError(f"{name}: {error}") from error
        return checked

    return check


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ArgumentTypeError(f"{value!r} is no JSON object")
    return value


def _list(check: Check, least: int, most: int) -> Check:
    def check_all(value: object) -> list[Any]:
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise ArgumentTypeError(f"{value!r} is no list of {least} to {most}")
        return [check(each) for each in value]

    return check_all


def _text(pattern: str) -> Check:
    def check(value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII):
            raise ArgumentTypeError(f"{value!r} is not what stands there")
        return value

    return check


def _piece(value: object) -> dict[str, Any]:
    piece = _record(_PIECE)(value)
    if piece["start"] >= piece["stop"]:
        raise ArgumentTypeError(f"{piece['start']} to {piece['stop']} are no steps")
    return piece


_PIECE: dict[str, Check] = {
    "name": _text(r"[^/\\\0]+_\d+\.memory"),  # NB! a file beside the snapshot, of no other kind
    "sha256": _text("[0-9a-f]{64}"),
    "start": _COUNT,
    "stop": _COUNT,
}
_HEADER: dict[str, Check] = {
    "format_version": integer(1, FORMAT_VERSION),
    "game": _text(r"[\w.:/-]{1,200}"),
    "rom_md5": _text("([0-9a-f]{32})?"),
    "label": _LABEL.check,
    "action_meanings": _list(_text(r"\w{1,40}"), 1, MOST_ACTIONS),
    "network": _text(r"[\w,]{1,100}"),
    "epoch": _COUNT,
    "total_train_steps": _COUNT,
    "weight_updates": _COUNT,
    "replay_memory_count": _COUNT,
    "memory": _record({"total": _COUNT, "pieces": _list(_piece, 0, 1_000_000)}),
    "total_time": number(0, 1e12),  # seconds
    "options": lambda value: check_options(_object(value)),
    "versions": lambda value: {
        str(name): _text(r"[\w.+!-]{1,100}")(version) for name, version in _object(value).items()
    },
}
