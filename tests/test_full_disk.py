"""A disk that is full: the file that is there stays as it is, and one line says why.

Here files cannot grow beyond a size. What a run does on a full disk is in test_kills.py.
"""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PONG = str(REPOSITORY / "snapshots" / "pong_s1_11.safetensors")
FEW = ["--visualization_filters", "16", "--overwrite", "true"]
SHORT = ["--seconds", "2", "--show_mind", "true", "--overwrite", "true"]
EXPERIENCE = """
import sys, numpy as np
from pathlib import Path
from simple_dqn.errors import UserError
from simple_dqn.memory.experience import Experience, write_experience
rng = np.random.default_rng(0)
ends = np.zeros(50, np.bool_)
screens = rng.integers(256, size=(50, 84, 84), dtype=np.uint8)
experience = Experience(screens, ends.astype(np.uint8), ends.astype(np.float32), ends, ends)
try:
    write_experience(Path(sys.argv[1]), experience, {})
except UserError as error:
    sys.exit(f"simple_dqn: {error}")
"""


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("pong.png", ["plot", str(REPOSITORY / "results" / "pong_s1.csv"), "--output"]),
        ("pong.html", ["nvis", PONG, *FEW, "--visualization_file"]),
        ("pong.mp4", ["record", PONG, "--overwrite", "true", "--video_file"]),
        ("pong.webp", ["record", PONG, *SHORT, "--video_file"]),
        ("pong.wav", ["record", PONG, "--overwrite", "true", "--record_sound_filename"]),
        ("pong.safetensors", []),
    ],
)
def test_the_file_that_is_there_stays(name: str, command: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "full"
    folder.mkdir()
    path = folder / name
    path.write_bytes(b"earlier")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    start = ["-m", "simple_dqn", *command] if command else ["-c", EXPERIENCE]
    result = subprocess.run(
        [sys.executable, *start, str(path)],
        env={**os.environ, "SIMPLE_DQN_ROOT": str(tmp_path)},
        preexec_fn=limit,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1, result.stderr
    lines = result.stderr.splitlines()
    assert lines[-1].startswith(f"simple_dqn: cannot write {path}: "), result.stderr
    assert "Traceback" not in result.stderr
    assert path.read_bytes() == b"earlier"
    assert {p.name for p in folder.iterdir()} == {name}
