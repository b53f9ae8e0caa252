"""What a user trains in a clone does not change what the tests say."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
LEFT_BEHIND = (
    "results/pong_short.csv",
    "results/pong_short.png",
    "results/road_runner.html",
    "roms/pong.bin",
    "snapshots/pong_short_1.safetensors",
    "snapshots/pong_short_1.training.safetensors",
    "snapshots/road_runner_2.safetensors",
    "videos/pong_short_1.mp4",
)


def test_tests_of_shipped_files_pass_where_runs_left_files(tmp_path: Path) -> None:
    """In a copy of the repository; no file of a run can be read, so none may be looked into.

    One shipped network plays there, Road Runner's, whose games are the shorter ones.
    """
    clone = tmp_path / "clone"
    for folder in ("scripts", "simple_dqn", "tests"):
        shutil.copytree(
            REPOSITORY / folder, clone / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    for path in REPOSITORY.iterdir():
        if path.is_file():
            shutil.copy(path, clone)
    for folder in ("results", "roms", "snapshots", "videos"):
        (clone / folder).mkdir()
        for path in (REPOSITORY / folder).iterdir():
            (clone / folder / path.name).symlink_to(path.resolve())
    for name in LEFT_BEHIND:
        (clone / name).unlink(missing_ok=True)  # the link to a user's file, not the file
        (clone / name).write_text("left by a run")
    tests = ["tests/test_shipped.py", "tests/test_readme.py"]
    options = ["-p", "no:cacheprovider", "-k", "not play_well or road_runner"]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=clone,
        env={**os.environ, "PYTHONPATH": str(clone)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
