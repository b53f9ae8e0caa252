"""play, record and nvis from end to end, and training on what a person played."""

import os
import re
import shutil
import signal
import wave
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pygame
import pytest
from helpers import write_play
from safetensors.numpy import load_file
from test_main import refused

from simple_dqn.main import main
from simple_dqn.networks.guided_backpropagation import GuidedNetwork
from simple_dqn.watch.film import encode_png

OPTIONS = (
    "--network nips --screen_width 36 --screen_height 36 --replay_size 500 --random_steps 60 "
    "--train_steps 60 --test_steps 0 --test_games 0 --epochs 1 --random_seed 0 --backend cpu "
    "--exploration_rate_test 1 --random_starts 0"
)
TINY = OPTIONS.split()

pytestmark = pytest.mark.usefixtures("root")


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that plays Breakout at random: short games."""
    root = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIMPLE_DQN_ROOT", str(root))
        patch.setattr("simple_dqn.run.run_parts.HELD_OUT_STATES", 3)
        assert main(["train", "breakout", *TINY]) == 0
    return root / "snapshots" / "breakout_1.safetensors"


def test_a_game_is_filmed(
    root: Path,
    snapshot: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All frames of two games; each screen as a PNG too; never over another film."""
    monkeypatch.setattr("simple_dqn.watch.games.TEST_FRAMES", 150)
    pictures = root / "pictures"
    arguments = ["record", str(snapshot), "--random_seed", "1", "--play_games", "2"]
    assert main([*arguments, "--record_screen_path", str(pictures)]) == 0
    path = root / "videos" / "breakout_1.mp4"
    output, errors = capsys.readouterr()
    assert output == f"{path}\n"
    match = re.search(r"wrote .*: (\d+) frames, ([\d.]+) s", errors)
    assert match
    frames = int(match[1])
    assert float(match[2]) == pytest.approx(frames / 60, abs=0.06)
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        assert (video.width, video.height) == (640, 420)
        assert video.average_rate == 60
        films = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        titles = [chapter["metadata"]["title"] for chapter in container.chapters()]
    scores = re.search(r"score ([\d.]+), ([\d.]+)\n", errors)
    assert scores
    assert titles == [f"game 1: score {scores[1]}", f"game 2: score {scores[2]}"]
    assert len(films) == frames
    names = sorted(pictures.iterdir())
    assert len(names) == frames
    for index in (0, frames - 1):
        screen = cv2.cvtColor(cv2.imread(str(names[index])), cv2.COLOR_BGR2RGB)
        assert screen.shape == (210, 160, 3)
        assert np.abs(films[index][::2, ::4].astype(int) - screen).mean() < 6
    before = path.read_bytes()
    assert "is there already" in refused(capsys, 1, *arguments)
    assert path.read_bytes() == before
    again = [*arguments, "--record_screen_path", str(pictures), "--video_file", str(root / "b.mp4")]
    assert "breakout_1_000001.png is there already" in refused(capsys, 1, *again)


@pytest.mark.parametrize(
    ("command", "file", "endings"),
    [
        ("record --video_file", "film.avi", ".mp4 or .gif or .webp"),
        ("record --record_sound_filename", "sound", ".wav"),
        ("nvis --visualization_file", "page.pdf", ".html or .htm"),
        ("play --record_experience", "mine.csv", ".safetensors"),
    ],
)
def test_a_file_is_named_for_its_format_and_not_like_a_folder(
    root: Path,
    snapshot: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    file: str,
    endings: str,
) -> None:
    """Else nothing is written, with --overwrite true too."""
    monkeypatch.chdir(root)
    name, option = command.split()
    arguments = [name, str(snapshot), "--overwrite", "true", option]
    line = refused(capsys, 1, *arguments, file)
    assert line.endswith(f"cannot write {file}: give {option} a name that ends in {endings}")
    assert f"is a folder; name a file with {option}" in refused(capsys, 1, *arguments, ".")
    existing = [str(snapshot), option, str(snapshot)]
    assert "is there already" in refused(capsys, 1, name, *existing)
    assert not [path for path in root.rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", ["film.mp4", "film.GIF", "film.webp"])
def test_a_film_of_some_seconds_and_a_width(root: Path, snapshot: Path, name: str) -> None:
    """It is what its ending says; 61 frames, of which a GIF or a WebP has every third."""
    options = ["--seconds", "1.01", "--width", "161", "--video_file", str(root / name)]
    assert main(["record", str(snapshot), *options, "--random_seed", "1"]) == 0
    beginning = (root / name).read_bytes()[:12]
    if name == "film.mp4":
        assert beginning[4:8] == b"ftyp"
        with av.open(str(root / name)) as container:
            pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert len(pictures) == 61
    else:
        assert beginning.startswith(b"GIF89a" if name == "film.GIF" else b"RIFF")
        complete, animation = cv2.imreadanimation(str(root / name))
        assert complete
        assert sum(animation.durations) == 21 * 50
        pictures = list(animation.frames)
    assert {picture.shape[:2] for picture in pictures} == {(104, 160)}


def test_a_film_begins_later(
    root: Path,
    snapshot: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is skipped is played as if it was filmed, but not looked into."""
    seed, screens = ["--random_seed", "1"], {}
    for name, options in {
        "complete": "--seconds 1",
        "later": "--skip_seconds .6 --seconds .4",
    }.items():
        files = ["--record_screen_path", str(root / name), "--video_file", str(root / "film.mp4")]
        more = ["--overwrite", "true", *options.split()]
        assert main(["record", str(snapshot), *seed, *files, *more]) == 0
        screens[name] = [path.read_bytes() for path in sorted((root / name).iterdir())]
    assert len(screens["complete"]) == 60
    assert screens["later"] == screens["complete"][36:]
    steps, project = [], GuidedNetwork.project_action
    monkeypatch.setattr("simple_dqn.commands.record.SECONDS", 0.1)  # of which the mind shows
    monkeypatch.setattr(
        GuidedNetwork, "project_action", lambda *step: steps.append(1) or project(*step)
    )
    assert main(["record", str(snapshot), *seed, *files, *more, "--show_mind", "true"]) == 0
    assert 7 <= len(steps) <= 8  # 24 frames are filmed, 6 before them are followed
    line = refused(capsys, 1, "record", str(snapshot), *seed, "--skip_seconds", "9999")
    assert "give fewer seconds, or more --play_games" in line
    assert not list((root / "videos").glob("*"))


def test_a_film_is_scaled_with_the_mind_beside_the_game(
    root: Path, snapshot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = ["--scale", "2", "--width", "320"]
    assert "give one of them" in refused(capsys, 1, "record", str(snapshot), *both)
    options = ["--scale", "0.5", "--seconds", "0.1", "--video_file", str(root / "film.mp4")]
    assert main(["record", str(snapshot), *options, "--show_mind", "true"]) == 0
    with av.open(str(root / "film.mp4")) as container:
        video = container.streams.video[0]
        assert (video.width, video.height, video.frames) == (500, 210, 6)
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert (picture[:, 325:] > 100).any()


def test_a_film_and_its_sound_are_made_again_with_the_seed_that_is_logged(
    root: Path, snapshot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --random_seed each film is of another game, whatever the run's own seed was."""
    short = ["record", str(snapshot), "--seconds", "3", "--width", "160"]

    def arguments(name: str) -> list[str]:
        files = ["--video_file", str(root / f"{name}.mp4")]
        return [*short, *files, "--record_sound_filename", str(root / "s" / "x.wav")]

    def film(name: str, *options: str) -> tuple[str, bytes]:
        """The seed and the sound, which is the game's own, sample for sample."""
        assert main([*arguments(name), *options, "--overwrite", "true"]) == 0
        match = re.search(
            r"breakout, random seed (\d+)(?:.|\n)*mp4: (\d+) frames", capsys.readouterr().err
        )
        assert match
        with wave.open(str(root / "s" / "x.wav")) as file:
            assert file.getnframes() == 512 * int(match[2])
            return match[1], file.readframes(file.getnframes())

    first = film("first")
    heard = np.frombuffer(first[1], np.uint8)
    assert np.ptp(heard) > 10  # the ball
    assert abs(heard.mean() - 128) < 1.5  # without an offset
    assert film("again", "--random_seed", first[0]) == first
    assert film("other")[0] != first[0]
    line = refused(capsys, 1, *arguments("new"))
    assert "is there already; give --record_sound_filename" in line
    assert not (root / "new.mp4").exists()


def test_a_film_of_several_epochs(
    root: Path, snapshot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One after another, each with its share of the seconds and its number on the picture.

    The CSV file of a run names its snapshots, also without a row.
    """
    folder = root / "snapshots"
    folder.mkdir()
    for epoch in (1, 3):
        shutil.copy(snapshot, folder / f"breakout_{epoch}.safetensors")
    film, run = root / "film.mp4", root / "results" / "breakout.csv"
    command = ["record", str(run), "--video_file", str(film)]
    assert "breakout_2.safetensors: there is no" in refused(capsys, 1, *command, "--epochs", "2")
    assert main([*command, "--seconds", "1", "--epochs", "1,3", "--random_seed", "1"]) == 0
    with av.open(str(film)) as container:
        titles = [chapter["metadata"]["title"] for chapter in container.chapters()]
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert titles == ["epoch 1 game 1: score 0", "epoch 3 game 1: score 0"]
    assert len(pictures) == 60
    corners = [picture[370:, :120].astype(int) for picture in pictures]
    same = [np.abs(corners[0] - corners[frame]).max() for frame in (1, 29, 30)]
    assert max(same[:2]) < 60 < same[2]


def test_an_interrupted_film_is_kept(
    root: Path,
    snapshot: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pictures = root / "pictures"

    def interrupted(picture: npt.NDArray[np.uint8]) -> bytes:
        if len(list(pictures.iterdir())) == 30:
            os.kill(os.getpid(), signal.SIGINT)
        return encode_png(picture)

    monkeypatch.setattr("simple_dqn.commands.record.encode_png", interrupted)
    options = ["--play_games", "1000", "--record_screen_path", str(pictures)]
    assert "interrupted" in refused(capsys, 130, "record", str(snapshot), *options)
    with av.open(str(root / "videos" / "breakout_1.mp4")) as container:
        assert len(list(container.decode(video=0))) == len(list(pictures.iterdir())) == 31
    assert [path.name for path in (root / "videos").iterdir()] == ["breakout_1.mp4"]


def test_the_page_of_filters(
    root: Path, snapshot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["nvis", str(snapshot), "--visualization_filters", "2"]) == 0
    path = root / "results" / "breakout_1.html"
    assert capsys.readouterr().out == f"{path}\n"
    assert path.read_text().count("<figure") == 4
    before = path.read_text()
    assert "is there already" in refused(capsys, 1, "nvis", str(snapshot))
    assert path.read_text() == before


def test_what_cannot_be_watched(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no snapshot" in refused(capsys, 1, "play")
    (root / "snapshots").mkdir()
    for epoch in (1, 2, 3):
        (root / "snapshots" / f"pong_a_{epoch}.safetensors").touch()
    assert "pong_a_3.safetensors" in refused(capsys, 1, "play")
    assert main(["play", "pong", "--display", "terminal"]) == 1
    errors = capsys.readouterr().err
    assert errors.count("to watch a network play pong, call play") == 1
    assert "pong_a_3.safetensors" in errors
    assert "needs a terminal" in errors
    assert "needs a network" in refused(capsys, 1, "play", "pong", "--show_mind", "true")
    assert main(["train", "pong", *TINY, "--network", "mlp"]) == 0
    mlp = str(root / "snapshots" / "pong_1.safetensors")
    assert "no filters" in refused(capsys, 1, "nvis", mlp)


@pytest.mark.parametrize("driver", [{}, {"SDL_VIDEODRIVER": "x11"}])
def test_without_a_display_play_names_the_ways_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, driver: dict[str, str]
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in driver.items():
        monkeypatch.setenv(name, value)
    pygame.quit()  # SDL keeps the driver that it found first
    line = refused(capsys, 1, "play", "pong")
    assert re.search("no display .*--display terminal.*record.sh", line)


def test_what_a_person_played_is_kept_whatever_breaks(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = []

    def show(*_: object) -> None:
        shown.append(1)
        if len(shown) == 30:
            raise RuntimeError("the display broke")

    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("SDL_AUDIODRIVER", "dummy")
    monkeypatch.setattr("simple_dqn.watch.window.Window.show", show)
    with pytest.raises(RuntimeError, match="the display broke"):
        main(["play", "breakout", "--record_experience", str(root / "mine.safetensors")])
    assert re.search(r"breakout, random seed \d+", capsys.readouterr().err)
    played = load_file(root / "mine.safetensors")
    assert len(played["actions"]) >= 7  # more where drawing is slow


def test_a_persons_games_are_learned_from(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In training and when it is resumed; of other games or settings they are refused."""
    one, two = (str(write_play(root / name)) for name in ("one.safetensors", "two.safetensors"))
    options = [*TINY, "--num_games", "3"]
    assert main(["train", "breakout", *options, "--load_experience", one, two]) == 0
    errors = capsys.readouterr().err
    assert errors.count("99 steps of a person's play") == 2
    rows = (root / "results" / "breakout.csv").read_text().splitlines()
    counts = [row.split(",")[9] for row in rows[1:]]
    assert counts == ["60", str(60 + 2 * 99 + 60)]
    last = str(root / "snapshots" / "breakout_1.safetensors")
    assert main(["resume", last, "--epochs", "2", "--load_experience", one]) == 0
    assert capsys.readouterr().err.count("99 steps of a person's play") == 1
    assert main(["resume", last.replace("_1", "_2"), "--epochs", "3"]) == 0  # not kept
    errors = capsys.readouterr().err
    assert "of a person's" not in errors
    assert "replay memory (" in errors  # with the person's steps in it
    assert "not restored" not in errors
    other = str(write_play(root / "other.safetensors", frame_skip=1))
    train = ["train", "breakout", "again", *TINY, "--load_experience"]
    assert "played with frame_skip = 1, this run has 4" in refused(capsys, 1, *train, one, other)
    missing = refused(capsys, 1, *train, str(root / "missing.safetensors"))
    assert "No such file" in missing
    assert not (root / "results" / "breakout_again.csv").exists()
