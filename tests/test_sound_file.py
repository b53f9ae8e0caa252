"""WAV files are opened again and compared."""

import wave
from pathlib import Path

import numpy as np
import pytest

from simple_dqn.errors import UserError
from simple_dqn.watch.film import SoundFile

RATE = 30_720
SOUND = np.random.default_rng(0).integers(256, size=(7, 512), dtype=np.uint8)


def make(path: Path, error: BaseException | None = None, pieces: int = len(SOUND)) -> None:
    with SoundFile(path, sample_rate=RATE) as file:
        for piece in SOUND[:pieces]:
            file.add(piece)
        if error is not None:
            raise error


def read(path: Path) -> bytes:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 1, RATE)
        return file.readframes(file.getnframes())


def test_every_sample_is_there(tmp_path: Path) -> None:
    make(tmp_path / "sounds" / "pong.wav")
    assert read(tmp_path / "sounds" / "pong.wav") == SOUND.tobytes()
    assert [path.name for path in (tmp_path / "sounds").iterdir()] == ["pong.wav"]


def test_an_interrupt_leaves_a_whole_file(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "pong.wav", KeyboardInterrupt())
    assert read(tmp_path / "pong.wav") == SOUND.tobytes()


@pytest.mark.parametrize("pieces", [0, 7])
def test_an_error_leaves_the_old_file(tmp_path: Path, pieces: int) -> None:
    path = tmp_path / "pong.wav"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError):
        make(path, RuntimeError(), pieces)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_to_hear_leaves_no_file(tmp_path: Path) -> None:
    make(tmp_path / "pong.wav", pieces=0)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        make(tmp_path / "file" / "pong.wav")
