"""The sound of a film as a WAV file, through the standard library."""

import logging
import wave
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from simple_dqn.files import errors_told, put_in_place

logger = logging.getLogger(__name__)


class SoundFile:
    """Writes sound piece by piece; a context manager that leaves a complete file or none.

    An interrupt (Ctrl-C) between two pieces ends the sound there; the file is complete then, too.
    """

    def __init__(self, path: Path, *, sample_rate: int) -> None:
        """Begin a file.

        Args:
            path: of the finished file; until then `<name>.part` is beside it.
            sample_rate: samples per second, 8 bits each, mono.

        Raises:
            UserError: the file cannot be written.
        """
        self._path = path
        self._part = path.with_name(f"{path.name}.part")
        self._samples, self._rate = 0, sample_rate
        with errors_told(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = wave.open(str(self._part), "wb")  # noqa: SIM115
        self._file.setnchannels(1)
        self._file.setsampwidth(1)
        self._file.setframerate(sample_rate)

    def add(self, sound: npt.NDArray[np.uint8]) -> None:
        """Append samples, uint8 (n,), 128 is silence: as a WAV file of 8 bits has them."""
        with errors_told(self._path):
            self._file.writeframesraw(sound.tobytes())
        self._samples += len(sound)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Finish the file, unless something went wrong or there was nothing to hear."""
        whole = self._samples > 0 and (kind is None or issubclass(kind, KeyboardInterrupt))
        try:
            with errors_told(self._path):
                self._file.close()
                if whole:
                    put_in_place(self._part, self._path)
                    logger.info("wrote %s: %.1f s", self._path, self._samples / self._rate)
        finally:
            self._part.unlink(missing_ok=True)
