import pickle
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from helpers import HEADER
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simple_dqn.array_file import Arrays
from simple_dqn.checkpoints import snapshot
from simple_dqn.errors import UserError

ARRAYS: Arrays = {
    "0.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "0.count": np.array(7, dtype=np.int64),
    "9.bias": np.array([np.nan, -1.5], dtype=np.float64),
}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pong_3.safetensors"
    snapshot.write_snapshot(path, HEADER, ARRAYS)
    header, arrays, where = snapshot.read_snapshot(path)
    assert where == path
    assert header == {"format_version": 1, **HEADER}
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)
    assert list(tmp_path.iterdir()) == [path]


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_flipped_bit_is_noticed(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "pong_3.safetensors"
    snapshot.write_snapshot(path, HEADER, ARRAYS)
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"damaged|is not a snapshot"):
        snapshot.read_snapshot(path)


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "pong_3.safetensors"
    snapshot.write_snapshot(path, HEADER, ARRAYS)
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(UserError, match="damaged"):
            snapshot.read_snapshot(path)


class Bomb:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("exploded"),)


@pytest.mark.parametrize(
    ("name", "refusal"), [("a_77.pkl", "pickle file"), ("b.safetensors", "damaged")]
)
def test_pickles_are_never_executed(
    tmp_path: Path, name: str, refusal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(UserError, match=refusal):
        snapshot.read_snapshot(path)
    assert not (tmp_path / "exploded").exists()


def test_other_files_are_refused(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.safetensors"
    foreign.write_bytes(safetensors.numpy.save({"x": np.zeros(3)}))
    with pytest.raises(UserError, match="is not a snapshot of simple_dqn"):
        snapshot.read_snapshot(foreign)
    with pytest.raises(UserError, match="cannot read"):
        snapshot.read_snapshot(tmp_path / "missing.safetensors")
    with pytest.raises(UserError, match="cannot read"):
        snapshot.read_snapshot(tmp_path)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pong_3.safetensors"
    snapshot.write_snapshot(path, {**HEADER, "format_version": 2}, ARRAYS)
    with pytest.raises(UserError, match="newer"):
        snapshot.read_snapshot(path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "pong_3.safetensors"
    snapshot.write_snapshot(path, HEADER, ARRAYS)
    with pytest.raises(TypeError):
        snapshot.write_snapshot(path, {**HEADER, "game": object()}, ARRAYS)
    assert snapshot.read_snapshot(path).header["game"] == "pong"
    blocked = path / "pong_4.safetensors"  # a file where a folder is needed
    with pytest.raises(UserError, match="cannot write"):
        snapshot.write_snapshot(blocked, HEADER, ARRAYS)


def test_a_runs_snapshots_are_its_own(tmp_path: Path) -> None:
    others = ("pong_10.training", "pong_laptop_3", "pong_2_1", "apong_4", "pong")
    names = ("pong_2", "pong_10", *others)
    for name in names:
        (tmp_path / f"{name}.safetensors").touch()
    found = snapshot.run_snapshots(tmp_path / "pong")
    expected = [(2, "pong_2.safetensors"), (10, "pong_10.safetensors")]
    assert [(epoch, path.name) for epoch, path in found.items()] == expected
    assert snapshot.run_snapshots(tmp_path / "missing" / "pong") == {}
