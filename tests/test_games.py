"""Finding the game that a user means, and scores on a human's scale."""

import csv
import hashlib
import os
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


# Names.


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("pong", "pong"),
        ("Pong", "pong"),
        ("PONG", "pong"),
        ("ALE/Pong-v5", "pong"),
        ("Pong-v0", "pong"),
        ("PongNoFrameskip-v4", "pong"),
        ("PongDeterministic-v4", "pong"),
        ("space_invaders", "space_invaders"),
        ("SpaceInvaders", "space_invaders"),
        ("spaceinvaders", "space_invaders"),
        ("space invaders", "space_invaders"),
        ("space-invaders", "space_invaders"),
        ("ALE/SpaceInvaders-v5", "space_invaders"),
        ("SpaceInvadersNoFrameskip-v4", "space_invaders"),
        ("qbert", "qbert"),
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


def test_the_md5_is_that_of_the_file(tmp_path: Path) -> None:
    assert find_game("pong", tmp_path).rom_md5 == PONG_MD5
    assert hashlib.md5(PONG.read_bytes(), usedforsecurity=False).hexdigest() == PONG_MD5


# Files.


def test_a_game_by_its_file() -> None:
    assert find_game(str(PONG), Path("nowhere")) == ("pong", PONG.resolve(), PONG_MD5)


def test_a_copy_under_a_foreign_name_is_known_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "my games" / "Breakout (1978).rom"
    path.parent.mkdir()
    path.write_bytes(PONG.read_bytes())
    assert find_game(str(path), tmp_path) == ("pong", path.resolve(), PONG_MD5)


def test_a_relative_path_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pong.bin").write_bytes(PONG.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert find_game("pong.bin", Path("roms")).rom_path == (tmp_path / "pong.bin").resolve()


def test_a_rom_of_the_users_own_wins(tmp_path: Path) -> None:
    own = tmp_path / "pong.bin"
    own.write_bytes(PONG.read_bytes())
    for text in ("pong", "ALE/Pong-v5"):
        assert find_game(text, tmp_path).rom_path == own.resolve()
    assert find_game("breakout", tmp_path).rom_path.parent == WHEEL_ROMS.resolve()


def test_a_rom_under_another_games_name_is_not_taken_for_it(tmp_path: Path) -> None:
    (tmp_path / "breakout.bin").write_bytes(PONG.read_bytes())
    assert "is the ROM of pong" in complaint("breakout", tmp_path)


def test_a_spoilt_rom_of_the_users_own_is_not_passed_over_in_silence(tmp_path: Path) -> None:
    own = tmp_path / "pong.bin"
    own.write_bytes(PONG.read_bytes()[:1000])
    assert str(own) in complaint("pong", tmp_path)


# Mistakes: what is wrong and what to do.


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("pnog", "pong"),
        ("brakout", "breakout"),
        ("SpaceInvader", "space_invaders"),
        ("ALE/Pnog-v5", "pong"),
        ("pong.bim", "pong"),
    ],
)
def test_a_near_match_is_offered(text: str, meant: str, tmp_path: Path) -> None:
    message = complaint(text, tmp_path)
    assert repr(text) in message
    assert "did you mean" in message
    assert meant in message


@pytest.mark.parametrize("text", ["", "xyzzy", "123", "-", "?\n?"])
def test_examples_are_offered_where_nothing_is_near(text: str, tmp_path: Path) -> None:
    message = complaint(text, tmp_path)
    assert repr(text) in message
    assert "try pong" in message


def test_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "pong.bin"
    message = complaint(str(path), tmp_path)
    assert f"{path}: No such file" in message
    assert "give a game's name" in message


@pytest.mark.parametrize(
    ("content", "what_is_wrong"),
    [
        (b"", "is empty"),
        (PONG.read_bytes()[:1000], "(1000 bytes"),
        (PONG.read_bytes() + b"\0", "(2049 bytes"),
        (bytes([PONG.read_bytes()[0] ^ 1]) + PONG.read_bytes()[1:], "(2048 bytes"),
        (b"not a ROM\n", "(10 bytes"),
    ],
    ids=["empty", "truncated", "too_long", "bit_flipped", "text"],
)
def test_spoilt_file(content: bytes, what_is_wrong: str, tmp_path: Path) -> None:
    path = tmp_path / "pong.bin"
    path.write_bytes(content)
    message = complaint(str(path), tmp_path)
    assert str(path) in message
    assert what_is_wrong in message
    assert "give the game's name" in message


@pytest.mark.parametrize("name", ["roms", "pong.bin"])
def test_a_folder_is_no_rom(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    message = complaint(str(folder), tmp_path / "nowhere")
    assert str(folder) in message
    assert "give a game's name" in message or "try pong" in message or "did you mean" in message


def test_a_folder_in_place_of_the_users_own_rom(tmp_path: Path) -> None:
    (tmp_path / "pong.bin").mkdir()
    message = complaint("pong", tmp_path)
    assert "Is a directory" in message
    assert "give a game's name" in message


def test_a_path_that_the_system_refuses() -> None:
    message = complaint("x" * 5000 + ".bin", Path("nowhere"))
    assert "too long" in message
    assert "give a game's name" in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_rom_without_permission_to_read(tmp_path: Path) -> None:
    path = tmp_path / "pong.bin"
    path.write_bytes(PONG.read_bytes())
    path.chmod(0)
    message = complaint(str(path), tmp_path)
    assert "Permission denied" in message
    assert "give a game's name" in message


# Scores.


@pytest.mark.parametrize(
    ("game", "random", "human"),
    [
        ("pong", -20.7, 14.6),
        ("breakout", 1.7, 30.5),
        ("seaquest", 68.4, 42054.7),
        ("space_invaders", 148.0, 1668.7),
        ("enduro", 0.0, 860.5),
        ("qbert", 163.9, 13455.0),
        ("montezuma_revenge", 0.0, 4753.3),
        ("skiing", -17098.1, -4336.9),
    ],
)
def test_published_scores(game: str, random: float, human: float) -> None:
    assert human_normalized_score(game, random) == pytest.approx(0, abs=1e-9)
    assert human_normalized_score(game, human) == pytest.approx(100)
    assert human_normalized_score(game, random - (human - random)) == pytest.approx(-100)


def test_breakout_at_the_papers_score_by_hand() -> None:
    """Mnih et al. 2015, extended data table 2, has 1327%."""
    expected = 100 * (401.2 - 1.7) / 28.8  # 1387%: these humans, of 2016, were worse
    assert human_normalized_score("breakout", 401.2) == pytest.approx(expected)


def test_57_games_have_scores_and_all_are_names_that_are_found(tmp_path: Path) -> None:
    table = resources.files("simple_dqn.environments").joinpath("scores.csv").read_text()
    rows = list(csv.DictReader(table.splitlines()))
    assert len({row["game"] for row in rows}) == len(rows) == 57
    for row in rows:
        assert find_game(row["game"], tmp_path).name == row["game"]
        assert float(row["human"]) > float(row["random"])
        assert human_normalized_score(row["game"], float(row["human"])) == pytest.approx(100)


@pytest.mark.parametrize("game", ["adventure", "CartPole-v1", "Pong", ""])
def test_no_scale_without_a_published_score(game: str) -> None:
    assert human_normalized_score(game, 1.0) is None
