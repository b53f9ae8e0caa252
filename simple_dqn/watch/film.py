"""Films in MP4 (H.264 and AAC), GIF and WebP through PyAV, which brings its own codecs; WAV."""

import logging
import wave
from abc import ABC, abstractmethod
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.audio.resampler import AudioResampler
from PIL import Image

from simple_dqn.files import errors_told, put_in_place, write_atomically

if TYPE_CHECKING:
    from av.container.core import Chapter

logger = logging.getLogger(__name__)

_ANIMATION_RATE = 20  # pictures per second of a GIF or a WebP
_AAC_RATE = 48_000  # samples per second; AAC allows only certain rates


class Format(NamedTuple):
    """How FFmpeg writes films of a format."""

    codec: str
    pixels: str
    codec_options: dict[str, str]
    file_options: dict[str, str]


FORMATS = {
    ".mp4": Format(
        "libx264", "yuv420p", {"crf": "18", "preset": "veryfast"}, {"movflags": "faststart"}
    ),
    ".gif": Format("gif", "pal8", {}, {"loop": "0"}),
    ".webp": Format("libwebp_anim", "bgra", {"lossless": "1"}, {"loop": "0"}),
}


class GrowingFile(ABC):
    """A context manager for a file that grows in `<name>.part`: it leaves a complete file or none.

    An interrupt (Ctrl-C) between two pieces ends the file there, and the file is complete.

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
        """The length of what was written, for people; "" if nothing was."""

    @abstractmethod
    def _close(self, *, complete: bool) -> None:
        """Close the file; first write what a complete file still lacks."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Move the file into place, or remove it after an error or if nothing was written."""
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
        """Begin a file of 8-bit mono sound of `sample_rate` samples per second."""
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
    """Writes a film frame by frame, in the format that the ending of its name says.

    A GIF or a WebP is for a web page: it runs in a loop and has some 20 pictures a second, no sound
    and no chapters. A picture of a GIF has 256 colours of its own choice; one of a WebP is as it
    was filmed.

    Attributes:
        frames: number of frames added.
    """

    def __init__(self, path: Path, *, frames_per_second: int, sample_rate: int) -> None:
        """Begin a film.

        Args:
            path: file of the finished film.
            frames_per_second: frames in a second.
            sample_rate: samples of sound per second; 0: the film is silent.

        Raises:
            UserError: the file cannot be written.
        """
        super().__init__(path)
        self.frames = 0
        ending = path.suffix.lower()
        self._format, is_mp4 = FORMATS[ending], ending == ".mp4"
        # A GIF shows a picture for whole hundredths of a second: 60 pictures a second do not fit.
        pictures_per_second = frames_per_second if is_mp4 else _ANIMATION_RATE
        self._frames_of_a_picture = max(1, round(frames_per_second / pictures_per_second))
        self._rate, self._sample_rate = frames_per_second, sample_rate
        self._samples = 0
        self._chapters: list[Chapter] = []
        self._video: Any = None  # made when the first picture shows its size
        with errors_told(path):  # NB! FFmpeg takes `a:b.mp4` for a file of the protocol `a`
            self._container = av.open(
                f"file:{self._part}", "w", format=ending[1:], options=self._format.file_options
            )
        self._audio: Any = None
        if is_mp4 and sample_rate:
            self._audio = self._container.add_stream("aac", rate=_AAC_RATE, layout="mono")
            self._resampler = AudioResampler(format="fltp", layout="mono", rate=_AAC_RATE)

    def add(self, picture: npt.NDArray[np.uint8], sound: npt.NDArray[np.uint8]) -> None:
        """Append a frame; of a GIF or a WebP, only every third or so becomes a picture.

        Args:
            picture: uint8 (height, width, 3), RGB; height and width are even.
            sound: uint8 (samples,), 128 is silence; ignored by a silent film.
        """
        if self._video is None:
            rate = Fraction(self._rate, self._frames_of_a_picture)
            self._video = self._container.add_stream(self._format.codec, rate=rate)
            self._video.height, self._video.width, _ = picture.shape
            self._video.pix_fmt, self._video.options = self._format[1:3]
        number, left_out = divmod(self.frames, self._frames_of_a_picture)
        with errors_told(self.path):
            if not left_out:
                frame = (
                    _with_palette(picture)
                    if self._format.pixels == "pal8"
                    else av.VideoFrame.from_ndarray(picture, format="rgb24")
                )
                frame.pts = number
                frame.time_base = Fraction(self._frames_of_a_picture, self._rate)
                self._container.mux(self._video.encode(frame))
            if self._audio is not None:
                self._add_sound(sound)
        self.frames += 1

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
        if complete:  # write what the encoders still hold, and the chapters
            self._container.set_chapters(self._chapters)
            self._container.mux(self._video.encode(None))
            if self._audio is not None:
                for resampled in self._resampler.resample(None):
                    self._container.mux(self._audio.encode(resampled))
                self._container.mux(self._audio.encode(None))
        self._container.close()


def _with_palette(picture: npt.NDArray[np.uint8]) -> av.VideoFrame:
    """A frame of 256 colours, chosen for this picture: exact if it has no more."""
    image = Image.fromarray(picture).quantize(256, kmeans=1, dither=Image.Dither.NONE)
    colours = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    # NB! FFmpeg shows wrong colours where a pixel has the second index of a colour.
    colours, merged = np.unique(colours, axis=0, return_inverse=True)
    palette = np.full((256, 4), 255, np.uint8)  # alpha, red, green, blue
    palette[: len(colours), 1:] = colours
    # PyAV's type hints do not know the pair.
    frame: Any = merged.astype(np.uint8)[np.asarray(image)], palette
    return av.VideoFrame.from_ndarray(frame, format="pal8")


def resize(picture: npt.NDArray[np.uint8], width: int) -> npt.NDArray[np.uint8]:
    """Resize a picture to a width and keep its proportions; both sides become even."""
    wide = width // 2 * 2
    high = max(2, 2 * round(picture.shape[0] * wide / picture.shape[1] / 2))
    way = cv2.INTER_AREA if wide < picture.shape[1] else cv2.INTER_NEAREST
    return cv2.resize(picture, (wide, high), interpolation=way)  # type: ignore[return-value]


def encode_png(picture: npt.NDArray[np.uint8]) -> bytes:
    """Encode a picture, uint8 (height, width, 3), RGB, as a PNG."""
    coded, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    assert coded
    return data.tobytes()


def write_picture(path: Path, picture: npt.NDArray[np.uint8]) -> None:
    """Write a picture, uint8 (height, width, 3), RGB, as a PNG.

    Raises:
        UserError: the file cannot be written.
    """
    write_atomically(path, encode_png(picture))
