"""One third-party library, one place: checked in a fresh interpreter."""

import subprocess
import sys

import pytest

HEAVY = {
    *("torch", "ale_py", "cv2", "gymnasium", "matplotlib", "safetensors", "stable_baselines3"),
    *("pygame", "av", "pandas"),
}


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("agent", set()),
        ("environment", set()),
        ("replay_memory", set()),
        ("state_buffer", set()),
        ("statistics", set()),
        ("run.progress", set()),
        ("environments.roms", set()),
        ("run.options", set()),
        ("run.schedules", set()),
        ("memory.prioritized", set()),
        ("memory.observations", set()),
        ("main", {"safetensors", "torch", "ale_py", "gymnasium", "cv2"}),
        ("run.command_line", {"safetensors"}),
        ("memory.experience", set()),
        ("watch.watched_game", {"ale_py", "cv2", "gymnasium"}),
        ("commands.watching", {"ale_py", "cv2", "gymnasium", "safetensors", "torch"}),
        ("watch.window", {"ale_py", "cv2", "gymnasium", "pygame"}),
        ("watch.terminal", {"cv2"}),
        ("watch.film", {"av", "cv2"}),
        ("networks.guided_backpropagation", {"torch"}),
        ("environments.screens", {"cv2"}),
        ("environments.atari", {"ale_py", "gymnasium"}),  # ale_py imports gymnasium by itself
        ("environments.gym", {"gymnasium", "ale_py", "cv2"}),  # gymnasium its plugins
        ("watch.curves", {"matplotlib", "pandas"}),
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
