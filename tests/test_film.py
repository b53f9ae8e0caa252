"""Films and their sounds are opened again, looked at and heard."""

import contextlib
import wave
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from simple_dqn.watch.film import Film

RATE, SAMPLES = 60, 512
FILMS = (".mp4", ".gif", ".webp")


def tone(frame: int) -> npt.NDArray[np.uint8]:
    """A frame's part of a 480 Hz sine."""
    times = (frame * SAMPLES + np.arange(SAMPLES)) / (RATE * SAMPLES)
    return (128 + 60 * np.sin(2 * np.pi * 480 * times)).astype(np.uint8)


def picture(frame: int) -> npt.NDArray[np.uint8]:
    """A white bar that moves a pixel pair to the right with each frame."""
    screen = np.zeros((64, 96, 3), np.uint8)
    screen[:, 2 * (frame % 40) : 2 * (frame % 40) + 8] = 255
    return screen


def make(path: Path, frames: int, error: BaseException | None = None) -> None:
    """Write a film, and its sound beside it."""
    rates = {"frames_per_second": RATE, "sample_rate": RATE * SAMPLES}
    with Film(path, sound_path=path.with_suffix(".wav"), **rates) as film:
        for frame in range(frames):
            film.add(picture(frame), tone(frame))
        if error is not None:
            raise error


def read_animation(path: Path) -> tuple[npt.NDArray[np.uint8], list[int]]:
    """Pictures of a GIF or a WebP that runs in a loop, and the milliseconds of each."""
    complete, animation = cv2.imreadanimation(str(path))
    assert complete
    assert animation.loop_count == 0
    return np.stack(animation.frames)[..., 2::-1], list(animation.durations)


def test_pictures_and_sound_are_there_and_in_step(tmp_path: Path) -> None:
    """Silence, and then a tone from frame 60 on, at the time of that frame."""
    path, silence = tmp_path / "films" / "film.mp4", np.full(SAMPLES, 128, np.uint8)
    with Film(path, frames_per_second=RATE, sample_rate=RATE * SAMPLES) as film:
        for frame in range(150):
            film.add(picture(frame), tone(frame) if frame >= 60 else silence)
    assert list(path.parent.iterdir()) == [path]
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert video.codec_context.name == "h264"
        assert (video.width, video.height, video.pix_fmt) == (96, 64, "yuv420p")
        assert video.average_rate == RATE
        assert audio.codec_context.name == "aac"
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        container.seek(0)
        frames = list(container.decode(audio=0))
    assert len(pictures) == 150
    for index in (0, 17, 149):
        difference = pictures[index].astype(int) - picture(index)
        assert np.abs(difference).mean() < 8
    assert frames[0].time == pytest.approx(0, abs=0.03)
    sound = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    assert len(sound) / 48_000 == pytest.approx(2.5, abs=0.1)
    assert np.flatnonzero(np.abs(sound) > 0.1)[0] / 48_000 == pytest.approx(1.0, abs=0.03)
    middle = sound[60_000:108_000]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
    assert np.fft.rfftfreq(len(middle), 1 / 48_000)[spectrum.argmax()] == pytest.approx(480, abs=2)
    assert np.abs(middle).max() == pytest.approx(60 / 128, rel=0.1)


def test_chapters_begin_where_the_last_one_ended(tmp_path: Path) -> None:
    """Those without a frame are left out."""
    with Film(tmp_path / "film.mp4", frames_per_second=RATE, sample_rate=0) as film:
        for frame in range(90):
            if frame in {30, 60}:
                film.end_chapter(f"until {frame}")
                film.end_chapter("empty")
            film.add(picture(frame), tone(frame))
    with av.open(str(tmp_path / "film.mp4")) as container:
        found = [
            (chapter["start"] * chapter["time_base"], chapter["end"] * chapter["time_base"])
            for chapter in container.chapters()
        ]
        titles = [chapter["metadata"]["title"] for chapter in container.chapters()]
    assert found == [(0, 0.5), (0.5, 1)]
    assert titles == ["until 30", "until 60"]


@pytest.mark.parametrize("ending", FILMS)
def test_an_interrupt_leaves_complete_files(tmp_path: Path, ending: str) -> None:
    frames, path, sound = 30, tmp_path / f"file{ending}", tmp_path / "file.wav"
    with pytest.raises(KeyboardInterrupt):
        make(path, frames, KeyboardInterrupt())
    assert {*tmp_path.iterdir()} == {path, sound}
    if ending == ".mp4":
        with av.open(str(path)) as container:
            assert len(list(container.decode(video=0))) == frames
    else:
        assert sum(read_animation(path)[1]) == 1000 * frames / RATE
    with wave.open(str(sound)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 1)
        assert file.getframerate() == RATE * SAMPLES
        samples = b"".join(tone(frame).tobytes() for frame in range(frames))
        assert file.readframes(len(samples) + 1) == samples


@pytest.mark.parametrize(("frames", "fails"), [(0, False), (0, True), (30, True)])
@pytest.mark.parametrize("ending", FILMS)
def test_an_error_or_an_empty_film_leaves_the_old_one(
    tmp_path: Path, ending: str, frames: int, fails: bool
) -> None:
    paths = {tmp_path / f"file{ending}", tmp_path / "file.wav"}
    for path in paths:
        path.write_bytes(b"old")
    with pytest.raises(RuntimeError) if fails else contextlib.nullcontext():
        make(tmp_path / f"file{ending}", frames, RuntimeError() if fails else None)
    assert {*tmp_path.iterdir()} == paths
    assert {path.read_bytes() for path in paths} == {b"old"}


@pytest.mark.parametrize("name", ["a:b.mp4", "100%d.mp4"])
def test_ffmpeg_does_not_interpret_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It takes what is before a colon for a protocol, and %d for a number."""
    monkeypatch.chdir(tmp_path)
    make(Path(name), frames=3)
    assert {path.name for path in tmp_path.iterdir()} == {name, f"{name[:-4]}.wav"}


def test_an_animation_has_the_colours_of_every_third_picture(tmp_path: Path) -> None:
    """60 pictures of 200 colours each, others in each picture; 50 ms for each, in a loop."""
    rng = np.random.default_rng(0)
    colours = rng.integers(256, size=(60, 200, 3), dtype=np.uint8)
    pictures = colours[np.arange(60)[:, None, None], rng.integers(200, size=(60, 32, 48))]
    path = tmp_path / "film.gif"
    with Film(path, frames_per_second=RATE, sample_rate=RATE * SAMPLES) as film:
        for frame, shown in enumerate(pictures):
            film.add(shown, tone(frame))
    read, durations = read_animation(path)
    assert durations == [50] * 20
    np.testing.assert_array_equal(read, pictures[::3])
