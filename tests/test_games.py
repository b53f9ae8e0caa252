"""Finding the game that a user means, and scores on a human's scale."""

import csv
import hashlib
import re
from importlib import resources
from pathlib import Path

import ale_py
import pytest

from simple_dqn.environments.roms import find_game, human_normalized_score
from simple_dqn.errors import UserError

WHEEL_ROMS = Path(ale_py.__file__).parent / "roms"
PONG = WHEEL_ROMS / "pong.bin"
PONG_MD5 = "60e0ea3cbe0913d39803477945e9e5ec"


def complaint(text: str, roms_dir: Path) -> str:
    """The message that finding no game gives."""
    with pytest.raises(UserError) as error:
        find_game(text, roms_dir)
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("PONG", "pong"),
        ("PongNoFrameskip-v4", "pong"),
        ("space invaders", "space_invaders"),
        ("ALE/SpaceInvaders-v5", "space_invaders"),
        ("Q*bert", "qbert"),
        ("Ms. Pacman", "ms_pacman"),
        ("ALE/TicTacToe3D-v5", "tic_tac_toe_3d"),
        ("ALE/Pitfall2-v5", "pitfall2"),
    ],
)
def test_a_game_by_its_name(text: str, name: str, tmp_path: Path) -> None:
    game = find_game(text, tmp_path)
    assert game.name == name
    assert game.rom_path == (WHEEL_ROMS / f"{name}.bin").resolve()


def test_every_rom_of_the_wheel_that_ale_plays_is_found_by_its_name(tmp_path: Path) -> None:
    """The others must not be found: ALE would end the process."""
    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    paths = list(WHEEL_ROMS.glob("*.bin"))
    assert len(paths) > 100
    for path in paths:
        if ale_py.ALEInterface.isSupportedROM(path):
            assert find_game(path.stem, tmp_path).name == path.stem
        else:
            for text in (path.stem, str(path)):
                assert f"{path.stem} needs two players" in complaint(text, tmp_path)


def test_a_game_by_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its content, whatever the name; a relative path becomes absolute."""
    assert hashlib.md5(PONG.read_bytes(), usedforsecurity=False).hexdigest() == PONG_MD5
    assert find_game(str(PONG), Path("nowhere")) == ("pong", PONG.resolve(), PONG_MD5)
    path = tmp_path / "my games" / "Breakout (1978).rom"
    path.parent.mkdir()
    path.write_bytes(PONG.read_bytes())
    monkeypatch.chdir(path.parent)
    for text in (str(path), path.name, f"./{path.name}"):
        assert find_game(text, tmp_path) == ("pong", path.resolve(), PONG_MD5)
    path.rename("old")
    assert find_game("./old", tmp_path).name == "pong"
    assert "unknown game" in complaint("old", tmp_path)
    Path("pong").write_text("notes")  # it does not hide the game
    assert find_game("pong", Path("nowhere")).rom_path == PONG.resolve()


def test_a_rom_of_the_users_own_wins(tmp_path: Path) -> None:
    own = tmp_path / "pong.bin"
    own.write_bytes(PONG.read_bytes())
    for text in ("pong", "ALE/Pong-v5"):
        assert find_game(text, tmp_path).rom_path == own.resolve()
    assert find_game("breakout", tmp_path).rom_path.parent == WHEEL_ROMS.resolve()
    own.rename(tmp_path / "breakout.bin")
    assert "is the ROM of pong" in complaint("breakout", tmp_path)
    own.write_bytes(PONG.read_bytes()[:1000])
    assert str(own) in complaint("pong", tmp_path)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("pnog", "did you mean .*pong"),
        ("SpaceInvader", "did you mean .*space_invaders"),
        ("pong.bim", "did you mean .*pong"),
        ("", "try pong"),
        ("?\n?", "try pong"),
    ],
)
def test_a_near_match_is_offered_or_an_example(text: str, hint: str, tmp_path: Path) -> None:
    message = complaint(text, tmp_path)
    assert repr(text) in message
    assert re.search(hint, message)


@pytest.mark.parametrize(
    ("content", "what_is_wrong"),
    [
        (b"", "(0 bytes"),
        (PONG.read_bytes()[:1000], "(1000 bytes"),
        (bytes([PONG.read_bytes()[0] ^ 1]) + PONG.read_bytes()[1:], "(2048 bytes"),
    ],
    ids=["empty", "truncated", "bit_flipped"],
)
def test_spoilt_file(content: bytes, what_is_wrong: str, tmp_path: Path) -> None:
    path = tmp_path / "pong.bin"
    path.write_bytes(content)
    message = complaint(str(path), tmp_path)
    assert str(path) in message
    assert what_is_wrong in message
    assert "give the game's name" in message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "pong.bin"
    long = "x" * 255 + ".bin"
    for text, reason in ((str(path), "No such file or directory"), (long, "File name too long")):
        message = complaint(text, tmp_path)
        assert f"cannot read ROM file {text}: {reason}; give a game's name" in message
    path.mkdir()
    for text in (str(path), "pong"):
        assert "Is a directory; give a game's name" in complaint(text, tmp_path)
    assert "unknown game" in complaint(str(tmp_path), tmp_path)


def test_scores_on_a_humans_scale() -> None:
    """By hand. Mnih et al. 2015, extended data table 2, has 1327%: other humans."""
    assert human_normalized_score("breakout", 401.2) == pytest.approx(100 * (401.2 - 1.7) / 28.8)
    assert human_normalized_score("pong", -20.7) == 0
    assert human_normalized_score("skiing", -17098.1 - 12761.2) == pytest.approx(-100)
    for game in ("adventure", "CartPole-v1", "Pong", ""):
        assert human_normalized_score(game, 1.0) is None


def test_57_games_have_scores_and_all_are_names_that_are_found(tmp_path: Path) -> None:
    table = resources.files("simple_dqn.environments").joinpath("scores.csv").read_text()
    rows = list(csv.DictReader(table.splitlines()))
    assert len({row["game"] for row in rows}) == len(rows) == 57
    for row in rows:
        assert find_game(row["game"], tmp_path).name == row["game"]
        assert float(row["human"]) > float(row["random"])
        assert human_normalized_score(row["game"], float(row["human"])) == pytest.approx(100)
