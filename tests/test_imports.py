"""One third-party library, one place: checked in a fresh interpreter."""

import subprocess
import sys

import pytest

HEAVY = {
    *("torch", "ale_py", "cv2", "gymnasium", "matplotlib", "safetensors", "stable_baselines3"),
    *("pygame", "av", "pandas", "tensorboardX"),
}


LIGHT = (
    *("agent", "environment", "replay_memory", "state_buffer", "statistics", "main"),
    *("options.settings", "options.command_line", "options.reference", "run.schedules"),
    *("memory.prioritized", "memory.observations", "checkpoints.csv_file"),
)


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        *[(name, set()) for name in LIGHT],
        ("commands.arguments", {"safetensors"}),
        ("memory.experience", {"safetensors"}),
        ("watch.watched_game", {"ale_py", "cv2", "gymnasium", "safetensors"}),
        ("commands.plot", {"matplotlib", "pandas", "safetensors"}),
        ("commands.report", {"matplotlib", "pandas", "safetensors"}),
        ("reports.evaluation", {"pandas"}),
        ("reports.tensorboard", {"torch", "tensorboardX"}),
        ("watch.window", {"ale_py", "cv2", "gymnasium", "pygame", "safetensors"}),
        ("watch.terminal", {"cv2"}),
        ("watch.film", {"av", "cv2"}),
        ("networks.guided_backpropagation", {"torch"}),
        ("environments.screens", {"cv2"}),
        ("environments.atari", {"ale_py", "gymnasium"}),  # ale_py imports gymnasium by itself
        ("environments.gym", {"gymnasium", "ale_py", "cv2"}),  # gymnasium its plugins
        ("reports.curves", {"matplotlib", "pandas"}),
        ("deep_q_network", {"torch"}),
        ("commands.benchmark", {"torch", "ale_py", "gymnasium", "safetensors", "cv2"}),
    ],
)
def test_a_module_imports_no_more_than_it_needs(module: str, allowed: set[str]) -> None:
    program = (
        f"import sys, simple_dqn.{module}\n"
        f"print(*({HEAVY!r} & {{name.split('.')[0] for name in sys.modules}}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert set(result.stdout.split()) <= allowed


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["train", "pong", "--no"]])
def test_help_and_mistakes_come_at_once(arguments: list[str]) -> None:
    """Without NumPy even: what is not imported takes no time."""
    program = (
        "import sys\nfrom simple_dqn.main import main\n"
        f"try: main({arguments!r})\nexcept SystemExit: pass\n"
        f"print(*({HEAVY | {'numpy', 'tqdm'}!r} & {{name.split('.')[0] for name in sys.modules}}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == ""
    assert "simple-dqn" in result.stdout + result.stderr
