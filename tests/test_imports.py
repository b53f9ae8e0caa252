"""One third-party library, one place: checked in a fresh interpreter."""

import subprocess
import sys

import pytest

HEAVY = {
    *("torch", "ale_py", "cv2", "gymnasium", "matplotlib", "safetensors", "stable_baselines3"),
    *("pygame", "av"),
}


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("agent", set()),
        ("environment", set()),
        ("replay_memory", set()),
        ("state_buffer", set()),
        ("statistics", set()),
        ("progress", set()),
        ("games", set()),
        ("options", set()),
        ("parts", set()),
        ("main", {"safetensors"}),
        ("command_line", {"safetensors"}),
        ("experience", set()),
        ("watched_game", {"ale_py", "cv2", "gymnasium"}),
        ("watch", {"ale_py", "cv2", "gymnasium", "safetensors"}),
        ("window", {"ale_py", "cv2", "gymnasium", "pygame"}),
        ("terminal", {"cv2"}),
        ("film", {"av", "cv2"}),
        ("guided_backpropagation", {"torch"}),
        ("screen", {"cv2"}),
        ("ale_environment", {"ale_py", "gymnasium"}),  # ale_py imports gymnasium by itself
        ("gym_environment", {"gymnasium", "ale_py", "cv2"}),  # gymnasium its plugins
        ("plot", {"matplotlib"}),
        ("deep_q_network", {"torch"}),
        ("benchmark", {"torch", "ale_py", "gymnasium", "safetensors"}),
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
