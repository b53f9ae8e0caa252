"""play, record and nvis from end to end, and training on what a person played."""

import re
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
from test_main import refused

from simple_dqn.main import main

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
        patch.setattr("simple_dqn.run.run.HELD_OUT_STATES", 3)
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
        assert container.streams.audio[0].codec_context.name == "aac"
        films = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        titles = [chapter["metadata"]["title"] for chapter in container.chapters()]
        end = container.chapters()[-1]
    scores = re.search(r"score ([\d.]+), ([\d.]+);", errors)
    assert scores
    assert titles == [f"game 1: score {scores[1]}", f"game 2: score {scores[2]}"]
    assert float(end["end"] * end["time_base"]) == pytest.approx(frames / 60, abs=0.01)
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
    assert "has screens of breakout_1 already" in refused(capsys, 1, *again)
    assert sorted(pictures.iterdir()) == names
    (pictures / "mine.png").touch()
    assert main([*again, "--overwrite", "true", "--seconds", ".5"]) == 0
    assert sorted(pictures.iterdir()) == [*names[:30], pictures / "mine.png"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("record --video_file film.avi", "a name that ends in .mp4, .gif or .webp"),
        ("record --record_sound_filename sound.mp3", "a name that ends in .wav"),
        ("nvis --visualization_file page", "a name that ends in .html or .htm"),
        ("play --record_experience mine.csv", "a name that ends in .npz"),
        ("record --video_file .", "is a folder; name a file"),
        ("record --record_sound_filename folder", "is a folder; name a file"),
        ("nvis --visualization_file folder/", "is a folder; name a file"),
        ("play --record_experience /", "is a folder; name a file"),
    ],
)
def test_a_wrong_place_is_refused_before_anything_is_written(
    root: Path,
    snapshot: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    message: str,
) -> None:
    """With --overwrite true too."""
    monkeypatch.chdir(root)
    (root / "folder").mkdir()
    name, option, file = command.split()
    line = refused(capsys, 1, name, str(snapshot), option, file, "--overwrite", "true")
    assert message in line
    assert option in line
    assert not [path for path in root.rglob("*") if path.is_file()]


@pytest.mark.parametrize("driver", [None, "x11"])
def test_play_without_a_snapshot_or_a_display_names_the_ways_out(
    root: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    driver: str | None,
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    if driver is not None:
        monkeypatch.setenv("SDL_VIDEODRIVER", driver)
    assert "there is no snapshot" in refused(capsys, 1, "play")
    (root / "snapshots").mkdir()
    (root / "snapshots" / "pong_a_3.safetensors").touch()
    assert "pong_a_3.safetensors" in refused(capsys, 1, "play")
    assert main(["play", "pong"]) == 1
    errors = capsys.readouterr().err
    assert "to watch a network play pong, call play" in errors
    assert re.search("no display .*--display terminal.*record.sh", errors.splitlines()[-1])


def test_the_sound_is_kept_too(
    root: Path, snapshot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As long as the film, sample for sample the emulator's; never over another file.

    Without --random_seed each film is of another game, whatever the run's own seed was.
    """

    def film(name: str, *options: str) -> tuple[str, bytes]:
        """The logged seed and the sound."""
        files = ["--video_file", str(root / f"{name}.mp4")]
        files += ["--record_sound_filename", str(root / f"{name}.wav")]
        assert main(["record", str(snapshot), *files, *options]) == 0
        errors = capsys.readouterr().err
        seed = re.search(r"breakout, random seed (\d+)", errors)
        frames = re.search(r"wrote .*mp4: (\d+) frames", errors)
        assert seed
        assert frames
        with wave.open(str(root / f"{name}.wav")) as file:
            assert (file.getnchannels(), file.getsampwidth()) == (1, 1)
            assert file.getframerate() == 60 * 512
            assert file.getnframes() == 512 * int(frames[1])
            sound = file.readframes(file.getnframes())
        assert np.ptp(np.frombuffer(sound, np.uint8)) > 10  # the ball is heard
        return seed[1], sound

    first = film("first")
    assert film("again", "--random_seed", first[0]) == first
    seed, sound = film("other")
    assert seed != first[0]
    assert sound != first[1]
    file = ["--record_sound_filename", str(root / "first.wav")]
    line = refused(capsys, 1, "record", str(snapshot), *file)
    assert "is there already" in line
    assert "--record_sound_filename" in line
    assert not (root / "videos" / "breakout_1.mp4").exists()


@pytest.mark.parametrize(
    ("name", "options", "number", "size"),
    [
        ("film.mp4", "--seconds 1.01 --width 161", 61, (104, 160)),
        ("film.GIF", "--seconds 1.01 --width 161", 21, (104, 160)),  # every third frame
        ("film.webp", "--seconds 1.01 --width 161", 21, (104, 160)),
        ("film.mp4", "--seconds .1 --scale 0.5", 6, (210, 320)),
        ("film.mp4", "--seconds .5 --show_mind true", 30, (420, 1000)),
    ],
)
def test_films_of_every_format_length_and_size(
    root: Path, snapshot: Path, name: str, options: str, number: int, size: tuple[int, int]
) -> None:
    path = root / name
    arguments = ["--video_file", str(path), "--random_seed", "1", *options.split()]
    assert main(["record", str(snapshot), *arguments]) == 0
    beginning = {".mp4": b"ftyp", ".gif": b"GIF89a", ".webp": b"RIFF"}[path.suffix.lower()]
    assert beginning in path.read_bytes()[:12]
    if name == "film.mp4":
        with av.open(str(path)) as container:
            pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert len(pictures) == number
    else:
        complete, animation = cv2.imreadanimation(str(path))
        assert complete
        assert sum(animation.durations) == number * 50
        pictures = list(animation.frames)
    assert {picture.shape[:2] for picture in pictures} == {size}
    if "mind" in options:
        assert (pictures[0][:, 650:] > 150).any()


def test_a_film_begins_later(
    root: Path, snapshot: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is skipped is played as if it was filmed."""
    seed, screens = ["--random_seed", "1"], {}
    for name, options in (("all", "--seconds 1"), ("later", "--skip_seconds .6 --seconds .4")):
        files = ["--record_screen_path", str(root / name), "--video_file", str(root / "film.mp4")]
        more = ["--overwrite", "true", *options.split()]
        assert main(["record", str(snapshot), *seed, *files, *more]) == 0
        screens[name] = [path.read_bytes() for path in sorted((root / name).iterdir())]
    assert len(screens["all"]) == 60
    assert screens["later"] == screens["all"][36:]
    both = ["--scale", "2", "--width", "320"]
    assert "give one of them" in refused(capsys, 1, "record", str(snapshot), *both)
    line = refused(capsys, 1, "record", str(snapshot), *seed, "--skip_seconds", "9999")
    assert "give fewer seconds, or more --play_games" in line
    assert not list((root / "videos").glob("*"))


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
    root: Path, snapshot: Path, capsys: pytest.CaptureFixture[str], filters: str, figures: int
) -> None:
    assert main(["nvis", str(snapshot), "--visualization_filters", filters]) == 0
    path = root / "results" / "breakout_1.html"
    assert capsys.readouterr().out == f"{path}\n"
    assert path.read_text().count("<figure") == figures
    assert "is there already" in refused(capsys, 1, "nvis", str(snapshot))


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("record", "--video_file"),
        ("nvis", "--visualization_file"),
        ("play", "--record_experience"),
    ],
)
def test_bad_input_is_refused_in_a_line(
    root: Path, snapshot: Path, capsys: pytest.CaptureFixture[str], command: str, option: str
) -> None:
    def line(*arguments: str, status: int = 1) -> str:
        text = refused(capsys, status, command, *arguments)
        assert list(root.iterdir()) == []
        return text

    assert "cannot read snapshot" in line("missing.safetensors")
    damaged, old, file = (root.parent / name for name in ("damaged.safetensors", "old.pkl", "file"))
    damaged.write_bytes(snapshot.read_bytes()[:-1])
    assert "is damaged" in line(str(damaged))
    old.write_bytes(b"\x80\x04.")
    assert "is a pickle file" in line(str(old))
    if command != "play":
        assert "arguments are required" in line(status=2)
    file.touch()
    assert "cannot write" in line(str(snapshot), option, str(file / "x"))
    assert "is there already" in line(str(snapshot), option, str(file))


def test_what_cannot_be_watched(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean pong" in refused(capsys, 1, "play", "pongg")
    assert "needs a network" in refused(capsys, 1, "play", "pong", "--show_mind", "true")
    assert "needs a terminal" in refused(capsys, 1, "play", "pong", "--display", "terminal")
    tiny = [*TINY, "--network", "mlp", "--epochs", "1"]
    assert main(["train", "pong", *tiny]) == 0
    mlp = str(root / "snapshots" / "pong_1.safetensors")
    assert "no filters" in refused(capsys, 1, "nvis", mlp)


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
        main(["play", "breakout", "--record_experience", str(root / "mine.npz")])
    assert re.search(r"breakout, random seed \d+", capsys.readouterr().err)
    with np.load(root / "mine.npz") as played:
        assert len(played["actions"]) == 7


def test_a_persons_games_are_learned_from(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In training and when it is resumed; of other games or settings they are refused."""
    one, two = (str(write_play(root / name)) for name in ("one.npz", "two.npz"))
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
    other = str(write_play(root / "other.npz", frame_skip=1))
    train = ["train", "breakout", "again", *TINY, "--load_experience"]
    assert "played with frame_skip = 1, this run has 4" in refused(capsys, 1, *train, one, other)
    missing = refused(capsys, 1, *train, str(root / "missing.npz"))
    assert "No such file" in missing
    assert not (root / "results" / "breakout_again.csv").exists()
