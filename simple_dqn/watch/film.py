"""Films in MP4 (H.264 and AAC), GIF and WebP through PyAV, which brings its own codecs; WAV."""

import contextlib
import logging
import wave
from abc import ABC, abstractmethod
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import av
import av.container
import av.error
import av.filter
import cv2
import numpy as np
import numpy.typing as npt
from av.audio.resampler import AudioResampler

from simple_dqn.files import errors_told, put_in_place, write_atomically

if TYPE_CHECKING:
    from av.container.core import Chapter

logger = logging.getLogger(__name__)

FORMATS = (".mp4", ".gif", ".webp")
_ANIMATION_RATE = 20  # pictures per second
_AAC_RATE = 48_000  # samples per second; AAC allows only certain rates


class GrowingFile(ABC):
    """A file that grows in `<name>.part`; a context manager that leaves a complete file or none.

    An interrupt (Ctrl-C) between two pieces ends the file there; the file is complete then, too.

    Attributes:
        path: of the finished file.
    """

    def __init__(self, path: Path) -> None:
        """Make the folder.

        Raises:
            UserError: the file cannot be written.
        """
        self.path = path
        self._part = path.with_name(f"{path.name}.part")
        with errors_told(path):
            path.parent.mkdir(parents=True, exist_ok=True)

    @property
    @abstractmethod
    def _length(self) -> str:
        """What was written, in words; "" if nothing was."""

    @abstractmethod
    def _close(self, *, complete: bool) -> None:
        """Close the file, after what a complete file still needs."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Finish the file, unless something went wrong or nothing was written."""
        complete = bool(self._length) and (kind is None or issubclass(kind, KeyboardInterrupt))
        try:
            with errors_told(self.path):
                self._close(complete=complete)
                if complete:
                    put_in_place(self._part, self.path)
                    logger.info("wrote %s: %s", self.path, self._length)
        finally:
            self._part.unlink(missing_ok=True)


class SoundFile(GrowingFile):
    """Writes sound piece by piece into a WAV file."""

    def __init__(self, path: Path, *, sample_rate: int) -> None:
        """Begin a file of 8 bits, mono, with so many samples per second; see `GrowingFile`."""
        super().__init__(path)
        self._samples, self._rate = 0, sample_rate
        with errors_told(path):
            self._file = wave.open(str(self._part), "wb")  # noqa: SIM115
        self._file.setnchannels(1)
        self._file.setsampwidth(1)
        self._file.setframerate(sample_rate)

    def add(self, sound: npt.NDArray[np.uint8]) -> None:
        """Append samples, uint8 (n,), 128 is silence."""
        with errors_told(self.path):
            self._file.writeframesraw(sound.tobytes())
        self._samples += len(sound)

    @property
    def _length(self) -> str:
        return f"{self._samples / self._rate:.1f} s" if self._samples else ""

    def _close(self, *, complete: bool) -> None:  # noqa: ARG002
        self._file.close()


class Film(GrowingFile):
    """Writes a film frame by frame."""

    def __init__(self, path: Path, *, frames_per_second: int, sample_rate: int) -> None:
        """Begin a film; see `GrowingFile`.

        Args:
            path: file of the finished film.
            frames_per_second: pictures per second.
            sample_rate: samples of sound per second; 0: the film is silent.

        Raises:
            UserError: the file cannot be written.
        """
        super().__init__(path)
        self.frames = 0
        self._rate, self._sample_rate = frames_per_second, sample_rate
        self._samples = 0
        self._chapters: list[Chapter] = []
        self._video: Any = None  # made when the first picture shows its size
        with errors_told(path):  # NB! FFmpeg takes `a:b.mp4` for a file of the protocol `a`
            self._container = self._open(f"file:{self._part}")
        self._audio: Any = None
        if sample_rate:
            self._audio = self._container.add_stream("aac", rate=_AAC_RATE, layout="mono")
            self._resampler = AudioResampler(format="fltp", layout="mono", rate=_AAC_RATE)

    def _open(self, address: str) -> av.container.OutputContainer:
        return av.open(address, "w", format="mp4", options={"movflags": "faststart"})

    def add(self, picture: npt.NDArray[np.uint8], sound: npt.NDArray[np.uint8]) -> None:
        """Append a frame.

        Args:
            picture: uint8 (height, width, 3), RGB; height and width are even.
            sound: uint8 (samples,), 128 is silence; a silent film takes none.
        """
        if self._video is None:
            self._add_video(
                "libx264",
                "yuv420p",
                Fraction(self._rate),
                picture,
                {"crf": "18", "preset": "veryfast"},
            )
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = self.frames, Fraction(1, self._rate)
        with errors_told(self.path):
            self._container.mux(self._video.encode(frame))
            if self._audio is not None:
                self._add_sound(sound)
        self.frames += 1

    def _add_video(
        self,
        codec: str,
        pixels: str,
        rate: Fraction,
        picture: npt.NDArray[np.uint8],
        options: dict[str, str],
    ) -> None:
        self._video = self._container.add_stream(codec, rate=rate)
        self._video.height, self._video.width, _ = picture.shape
        self._video.pix_fmt, self._video.options = pixels, options

    def _add_sound(self, sound: npt.NDArray[np.uint8]) -> None:
        samples = (sound.astype(np.int16) - 128) << 8
        piece = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        piece.sample_rate, piece.pts = self._sample_rate, self._samples
        piece.time_base = Fraction(1, self._sample_rate)
        for resampled in self._resampler.resample(piece):
            self._container.mux(self._audio.encode(resampled))
        self._samples += len(sound)

    def end_chapter(self, title: str) -> None:
        """Make what was filmed since the end of the last chapter a chapter of the film."""
        start = self._chapters[-1]["end"] if self._chapters else 0
        if self.frames > start:
            self._chapters.append(
                {
                    "id": len(self._chapters),
                    "start": start,
                    "end": self.frames,
                    "time_base": Fraction(1, self._rate),
                    "metadata": {"title": title},
                }
            )

    @property
    def _length(self) -> str:
        return f"{self.frames} frames, {self.frames / self._rate:.1f} s" if self.frames else ""

    def _close(self, *, complete: bool) -> None:
        if complete:
            self._finish()
        self._container.close()

    def _finish(self) -> None:
        """Write what the encoders still hold, and the chapters."""
        self._container.set_chapters(self._chapters)
        self._container.mux(self._video.encode(None))
        if self._audio is not None:
            for resampled in self._resampler.resample(None):
                self._container.mux(self._audio.encode(resampled))
            self._container.mux(self._audio.encode(None))


class Animation(Film):
    """A film for a web page, GIF or WebP, of some 20 pictures a second, in a loop.

    It has no sound and no chapters.

    A picture of a GIF has 256 colours of its own choice; one of a WebP is as it was filmed. As a
    GIF shows a picture for a whole number of hundredths of a second, 60 a second are impossible.
    """

    def __init__(self, path: Path, *, frames_per_second: int) -> None:
        """Begin a film, as `Film` does; its format is that of the ending of its name."""
        self._gif = path.suffix.lower() == ".gif"
        self._frames_of_a_picture = max(1, round(frames_per_second / _ANIMATION_RATE))
        self._time_base = Fraction(self._frames_of_a_picture, frames_per_second)
        self._graph: Any = None  # made when the first picture shows its size
        super().__init__(path, frames_per_second=frames_per_second, sample_rate=0)

    def _open(self, address: str) -> av.container.OutputContainer:
        return av.open(address, "w", format="gif" if self._gif else "webp", options={"loop": "0"})

    def add(self, picture: npt.NDArray[np.uint8], sound: npt.NDArray[np.uint8]) -> None:  # noqa: ARG002
        """Append a frame, of which only every third or so becomes a picture.

        Args:
            picture: uint8 (height, width, 3), RGB.
            sound: is left out.
        """
        if self._video is None:
            rate = 1 / self._time_base
            if self._gif:
                self._add_video("gif", "pal8", rate, picture, {})
                self._graph = _palette_graph(picture, self._time_base)
            else:
                self._add_video("libwebp_anim", "bgra", rate, picture, {"lossless": "1"})
        number, left_out = divmod(self.frames, self._frames_of_a_picture)
        if not left_out:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, self._time_base
            with errors_told(self.path):
                self._encode(frame)
        self.frames += 1

    def _encode(self, frame: av.VideoFrame | None) -> None:
        """Encode a picture, or what is left at the end."""
        if not self._gif:
            self._container.mux(self._video.encode(frame))
            return
        self._graph.push(frame)
        with contextlib.suppress(av.error.BlockingIOError, av.error.EOFError):
            while True:  # until the graph has none
                self._container.mux(self._video.encode(self._graph.pull()))
        if frame is None:
            self._container.mux(self._video.encode(None))

    def _finish(self) -> None:
        self._encode(None)


def _palette_graph(picture: npt.NDArray[np.uint8], time_base: Fraction) -> av.filter.Graph:
    """The way of RGB pictures to pictures of 256 colours, chosen for each picture."""
    height, width, _ = picture.shape
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=width, height=height, format=av.VideoFormat("rgb24"), time_base=time_base
    )
    split, sink = graph.add("split"), graph.add("buffersink")
    colours = graph.add("palettegen", "stats_mode=single")
    mapped = graph.add("paletteuse", "dither=none:new=1")
    source.link_to(split)
    split.link_to(colours, 0)
    split.link_to(mapped, 1, 0)
    colours.link_to(mapped, 0, 1)
    mapped.link_to(sink)
    graph.configure()
    return graph


def make_film(path: Path, *, frames_per_second: int, sample_rate: int) -> Film:
    """Begin a film of the format of the ending of its name; see `Film` and `Animation`.

    Raises:
        UserError: the file cannot be written.
    """
    if path.suffix.lower() == ".mp4":
        return Film(path, frames_per_second=frames_per_second, sample_rate=sample_rate)
    return Animation(path, frames_per_second=frames_per_second)


def resize(picture: npt.NDArray[np.uint8], width: int) -> npt.NDArray[np.uint8]:
    """Make a picture as wide as is asked for, in its proportions; both sides become even."""
    wide = width // 2 * 2
    high = max(2, 2 * round(picture.shape[0] * wide / picture.shape[1] / 2))
    way = cv2.INTER_AREA if wide < picture.shape[1] else cv2.INTER_NEAREST
    return cv2.resize(picture, (wide, high), interpolation=way)  # type: ignore[return-value]


def write_picture(path: Path, picture: npt.NDArray[np.uint8]) -> None:
    """Write a picture, uint8 (height, width, 3), RGB, as a PNG.

    Raises:
        UserError: the file cannot be written.
    """
    coded, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    assert coded
    write_atomically(path, data.tobytes())
