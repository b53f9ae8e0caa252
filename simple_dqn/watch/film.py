"""Films in MP4 (H.264 and AAC), GIF and WebP through PyAV, which brings its own codecs; WAV."""

import contextlib
import logging
import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.audio.resampler import AudioResampler
from PIL import Image

from simple_dqn.files import errors_naming, put_in_place

logger = logging.getLogger(__name__)

_ANIMATION_RATE = 20  # pictures per second of a GIF or a WebP
_AAC_RATE = 48_000  # samples per second; AAC allows only certain rates

# How FFmpeg writes films: the codec, its pixels, its options and those of the file.
_X264 = {"crf": "18", "preset": "veryfast"}
FORMATS: dict[str, tuple[str, str, dict[str, str], dict[str, str]]] = {
    ".mp4": ("libx264", "yuv420p", _X264, {"movflags": "faststart"}),
    ".gif": ("gif", "pal8", {}, {"loop": "0"}),
    ".webp": ("libwebp_anim", "yuv420p", {"quality": "80"}, {"loop": "0"}),
}


class Film(contextlib.AbstractContextManager["Film"]):
    """A context manager that writes a film frame by frame, in the format of its name's ending.

    The film grows in `<name>.part`. It takes its place at the end, or where an interrupt (Ctrl-C)
    comes between two frames. After any other error, and without a frame, an older film stays.

    A GIF or a WebP runs in a loop and has about 20 pictures a second, no sound and no chapters.
    """

    def __init__(
        self,
        path: Path,
        frames_per_second: int,
        sample_rate: int,
        sound_path: Path | None = None,
    ) -> None:
        """Begin a film whose sound has `sample_rate` samples per second; 0: it is silent.

        The sound is also written to the WAV file `sound_path`, if there is one.
        """
        self.path, self.frames = path, 0
        ending = path.suffix.lower()
        self._codec, self._pixels, self._options, file_options = FORMATS[ending]
        is_mp4 = ending == ".mp4"
        # A GIF shows a picture for full hundredths of a second: 60 pictures a second do not fit.
        pictures_per_second = frames_per_second if is_mp4 else _ANIMATION_RATE
        self._frames_of_a_picture = max(1, round(frames_per_second / pictures_per_second))
        self._rate, self._sample_rate = frames_per_second, sample_rate
        self._samples = 0
        self._chapters: list[Any] = []
        # By path, where a file grows before it takes its place.
        files = filter(None, (path, sound_path))
        self._parts = {file: file.with_name(f"{file.name}.part") for file in files}
        for file in self._parts:
            with errors_naming(file):
                file.parent.mkdir(parents=True, exist_ok=True)
        with errors_naming(path):  # NB! FFmpeg takes `a:b.mp4` for a file of the protocol `a`
            self._container = av.open(
                f"file:{self._parts[path]}", "w", format=ending[1:], options=file_options
            )
        self._video: Any = None  # made when the first picture shows its size
        self._audio: Any = None
        if is_mp4 and sample_rate:
            self._audio = self._container.add_stream("aac", rate=_AAC_RATE, layout="mono")
            self._resampler = AudioResampler(format="fltp", layout="mono", rate=_AAC_RATE)
        self._wave: wave.Wave_write | None = None
        if sound_path is not None:
            with errors_naming(sound_path):
                self._wave = wave.open(str(self._parts[sound_path]), "wb")  # noqa: SIM115
            self._wave.setparams((1, 1, sample_rate, 0, "NONE", ""))  # 8 bits, mono

    def add(self, picture: npt.NDArray[np.uint8], sound: npt.NDArray[np.uint8]) -> None:
        """Append a frame; of a GIF or a WebP, only every third or so becomes a picture.

        The picture, uint8 (height, width, 3), RGB, has even sides. A silent film ignores the sound,
        uint8 (samples,), 128 is silence.
        """
        if self._video is None:
            rate = Fraction(self._rate, self._frames_of_a_picture)
            self._video = self._container.add_stream(self._codec, rate=rate)
            self._video.height, self._video.width, _ = picture.shape
            self._video.pix_fmt, self._video.options = self._pixels, self._options
        number, left_out = divmod(self.frames, self._frames_of_a_picture)
        with errors_naming(self.path):
            if not left_out:
                frame = (
                    _with_palette(picture)
                    if self._pixels == "pal8"
                    else av.VideoFrame.from_ndarray(picture, format="rgb24")
                )
                frame.pts = number
                frame.time_base = Fraction(self._frames_of_a_picture, self._rate)
                self._container.mux(self._video.encode(frame))
            if self._audio is not None:
                self._add_sound(sound)
        if self._wave is not None:
            with errors_naming([*self._parts][-1]):
                self._wave.writeframesraw(sound.tobytes())
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
            chapter: dict[str, Any] = {"time_base": Fraction(1, self._rate)}
            chapter |= {"id": len(self._chapters), "start": start, "end": self.frames}
            self._chapters.append(chapter | {"metadata": {"title": title}})

    def close(self, *, complete: bool = True) -> None:
        """Move the finished film and its sound into place, or remove what is not complete."""
        complete = complete and self.frames > 0
        try:  # what made the film incomplete is said already
            with errors_naming(self.path) if complete else contextlib.suppress(OSError):
                if complete:  # write what the encoders still hold, and the chapters
                    self._container.set_chapters(self._chapters)
                    self._container.mux(self._video.encode(None))
                    if self._audio is not None:
                        for resampled in self._resampler.resample(None):
                            self._container.mux(self._audio.encode(resampled))
                        self._container.mux(self._audio.encode(None))
                self._container.close()
                if self._wave is not None:
                    self._wave.close()
                for file, part in self._parts.items() if complete else ():
                    put_in_place(part, file)
                    seconds = self.frames / self._rate
                    logger.info("wrote %s: %d frames, %.1f s", file, self.frames, seconds)
        finally:
            for part in self._parts.values():
                part.unlink(missing_ok=True)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(complete=kind is None or issubclass(kind, KeyboardInterrupt))


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


def encode_png(picture: npt.NDArray[np.uint8]) -> bytes:
    """Encode a picture, uint8 (height, width, 3), RGB, as a PNG."""
    return cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1].tobytes()
