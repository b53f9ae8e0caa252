"""Files and command lines of every kind: what is refused is refused by one line."""

import contextlib
import copy
import json
from pathlib import Path
from typing import Any

import pytest
from helpers import HEADER
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simple_dqn.commands.arguments import merge, read_preset
from simple_dqn.errors import UserError
from simple_dqn.options.command_line import parse
from simple_dqn.options.commands import COMMANDS
from simple_dqn.options.schema import check_header
from simple_dqn.options.settings import KEPT, OPTIONS, Settings

# Networks of other tests let the processor round subnormal numbers to 0.
FLOATS = st.floats(allow_subnormal=False)
NUMBERS = st.one_of(st.integers(), FLOATS, st.sampled_from([2**31, 2**63, 10**18, 1e308]))
WORDS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["../x", "/etc/passwd", "gym", "module:Class", "1e999999999", "\x1b[2J"]),
)
HOSTILE = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=4,
)
WHOLE: dict[str, Any] = {
    "format_version": 1,
    **HEADER,
    "memory": {
        "total": 60,
        "pieces": [{"name": "p_3.memory", "sha256": "0" * 64, "start": 0, "stop": 60}],
    },
    "options": {row.name: row.default for row in KEPT},
}
MANY = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@contextlib.contextmanager
def refused_at_most() -> Any:
    """Nothing but one line that a terminal can show."""
    message = ""
    try:
        yield
    except UserError as error:
        message = str(error)
    assert message == "" or message.isprintable()
    assert len(message) < 1200


def changed(data: st.DataObject, tree: Any) -> Any:
    """A tree of JSON with one place changed, removed or added."""
    tree = copy.deepcopy(tree)
    node = tree
    while True:
        keys = list(node) if isinstance(node, dict) else range(len(node))
        key = data.draw(st.sampled_from(keys))
        if isinstance(node[key], dict | list) and node[key] and data.draw(st.booleans()):
            node = node[key]
            continue
        match data.draw(st.integers(0, 3)):
            case 0:
                del node[key]
            case 1 if isinstance(node, dict):
                node[data.draw(WORDS)] = data.draw(HOSTILE)
            case _:
                node[key] = data.draw(HOSTILE)
        return tree


@MANY
@given(st.data())
def test_headers(data: st.DataObject) -> None:
    """What passes makes settings, and asks for no file and no module."""
    header = changed(data, WHOLE)
    with contextlib.suppress(ValueError):  # what JSON cannot write is in no file
        header = json.loads(json.dumps(header))
    with refused_at_most():
        checked = check_header(header)
        Settings(game=checked["game"], label=checked["label"], **checked["options"])


@MANY
@given(st.dictionaries(st.sampled_from([row.name for row in OPTIONS]), HOSTILE, max_size=3))
def test_options(values: dict[str, Any]) -> None:
    with refused_at_most():
        merge({"game": "pong", **values})


@MANY
@given(st.one_of(st.text(), st.sampled_from(["epochs = [1", "a = 1\na = 2", "[" * 5000])))
def test_presets(tmp_path: Path, text: str) -> None:
    path = tmp_path / "preset.toml"
    path.write_bytes(text.encode(errors="replace"))
    with refused_at_most():
        read_preset(str(path))


@MANY
@given(data=st.data())
def test_command_lines(capsys: pytest.CaptureFixture[str], data: st.DataObject) -> None:
    """Status 2 and one line, or 0 for help."""
    command = COMMANDS[data.draw(st.sampled_from(sorted(COMMANDS)))]
    names = [f"--{row.name}" for rows in (command.own, *command.options().values()) for row in rows]
    words = st.one_of(st.sampled_from([*names, "--", "--help", "-1e9"]), WORDS, NUMBERS.map(str))
    capsys.readouterr()
    status: object = None
    try:
        parse(command.name, data.draw(st.lists(words, max_size=5)))
    except SystemExit as ended:
        status = ended.code
    error = capsys.readouterr().err
    assert "\x1b" not in error
    assert (status, error.count("\n")) in {(None, 0), (0, 0), (2, 1)}
