"""play, record and nvis from end to end, and training on what a person played."""

import os
import re
import shutil
import signal
import subprocess
import sys
import wave
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from helpers import write_play
from safetensors.numpy import load_file
from test_main import refused

from simple_dqn.checkpoints.choice import best_and_last
from simple_dqn.main import main
from simple_dqn.networks.guided_backpropagation import GuidedNetwork

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


def test_a_game_is_filmed(root: Path, snapshot: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All frames of two games; each screen as a PNG too; never over another film."""
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
    first = names[0].read_bytes()
    assert "breakout_1_000001.png is there already" in refused(capsys, 1, *again)
    assert names[0].read_bytes() == first
    (pictures / "breakout_1_900000.png").touch()
    (pictures / "mine.png").touch()
    assert main([*again, "--overwrite", "true"]) == 0
    assert sorted(pictures.iterdir()) == [*names, pictures / "mine.png"]


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

    def arguments(name: str) -> list[str]:
        files = ["--video_file", str(root / f"{name}.mp4")]
        return [
            "record",
            str(snapshot),
            *files,
            "--record_sound_filename",
            str(root / "s" / "x.wav"),
        ]

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
    assert abs(heard.mean() - 128) < 0.5  # without an offset
    assert film("again", "--random_seed", first[0]) == first
    seed, sound = film("other")
    assert seed != first[0]
    assert sound != first[1]
    line = refused(capsys, 1, *arguments("new"))
    assert "is there already; give --record_sound_filename" in line
    assert not (root / "new.mp4").exists()


@pytest.mark.parametrize("by_run", [False, True])
def test_a_film_of_several_epochs(
    root: Path, snapshot: Path, capsys: pytest.CaptureFixture[str], by_run: bool
) -> None:
    """One after another, each with its share of the seconds and its number on the picture."""
    folder = root / "snapshots"
    folder.mkdir()
    for epoch in (1, 3):
        shutil.copy(snapshot, folder / f"breakout_{epoch}.safetensors")
    film = root / "film.mp4"
    run = root / "results" / "breakout.csv"  # names its snapshots, also without a row
    given = str(run if by_run else folder / "breakout_3.safetensors")
    command = ["record", given, "--video_file", str(film)]
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


def test_an_interrupted_film_is_kept(root: Path, snapshot: Path) -> None:
    pictures = root / "pictures"
    options = ["--play_games", "1000", "--record_screen_path", str(pictures)]
    process = subprocess.Popen(
        [sys.executable, "-m", "simple_dqn", "record", str(snapshot), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not pictures.exists() or len(list(pictures.iterdir())) < 30:
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130, errors
    assert errors.splitlines()[-1] == "simple_dqn: interrupted"
    with av.open(str(root / "videos" / "breakout_1.mp4")) as container:
        number = len(list(container.decode(video=0)))
    assert number == len(list(pictures.iterdir()))
    assert f": {number} frames" in errors
    assert [path.name for path in (root / "videos").iterdir()] == ["breakout_1.mp4"]


@pytest.mark.parametrize(("filters", "figures"), [("2", 4), ("all", 48)])
def test_the_page_of_filters(
    root: Path,
    snapshot: Path,
    capsys: pytest.CaptureFixture[str],
    filters: str,
    figures: int,
) -> None:
    assert main(["nvis", str(snapshot), "--visualization_filters", filters]) == 0
    path = root / "results" / "breakout_1.html"
    assert capsys.readouterr().out == f"{path}\n"
    assert path.read_text().count("<figure") == figures
    before = path.read_text()
    assert "is there already" in refused(capsys, 1, "nvis", str(snapshot))
    assert path.read_text() == before


@pytest.mark.parametrize("command", ["record", "nvis", "play"])
def test_bad_input_is_refused_in_a_line(
    root: Path, snapshot: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    def line(*arguments: str, status: int = 1) -> str:
        line = refused(capsys, status, command, *arguments)
        assert list(root.iterdir()) == []
        return line

    assert "cannot read snapshot" in line("missing.safetensors")
    damaged, file = root.parent / "damaged.safetensors", root.parent / "old.pkl"
    damaged.write_bytes(snapshot.read_bytes()[:-1])
    file.touch()
    assert "is damaged" in line(str(damaged))
    assert "is a pickle file" in line(str(file))
    if command != "play":
        assert "arguments are required" in line(status=2)
    names = {"record": "video_file", "nvis": "visualization_file", "play": "record_experience"}
    option = f"--{names[command]}"
    assert "cannot write" in line(str(snapshot), option, str(file / "x"))
    assert "is there already" in line(str(snapshot), option, str(file))


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
    assert "did you mean pong" in refused(capsys, 1, "play", "pongg")
    assert "needs a network" in refused(capsys, 1, "play", "pong", "--show_mind", "true")
    scores = "epoch,phase,average_reward\n1,test,5\n2,test,9.5\n3,train,7\n3,test,nan\n"
    (root / "results").mkdir()
    (root / "results" / "pong_a.csv").write_text(scores)
    menu = {path.stem: text for path, text in best_and_last().items()}
    assert menu == {"pong_a_2": "test 9.5, best", "pong_a_3": "last"}
    tiny = [*TINY, "--network", "mlp", "--epochs", "1"]
    assert main(["train", "pong", *tiny]) == 0
    mlp = str(root / "snapshots" / "pong_1.safetensors")
    assert "no filters" in refused(capsys, 1, "nvis", mlp)


@pytest.mark.parametrize("driver", [{}, {"SDL_VIDEODRIVER": "x11"}])
def test_without_a_display_play_names_the_ways_out(driver: dict[str, str]) -> None:
    unset = {"DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"}
    environment = {key: value for key, value in os.environ.items() if key not in unset}
    result = subprocess.run(
        [sys.executable, "-m", "simple_dqn", "play", "pong"],
        env=environment | driver,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 1
    line = result.stderr.splitlines()[-1]
    assert re.search("no display .*--display terminal.*record.sh", line)
    assert "Traceback" not in result.stderr


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
    assert len(played["actions"]) == 7


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
