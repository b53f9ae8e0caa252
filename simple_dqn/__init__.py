"""simple_dqn: deep Q-learning on Atari 2600 games."""

__version__ = "0.1.0"

from typing import Any

__all__ = ["Run", "Settings"]


def __getattr__(name: str) -> Any:
    """Import `Run` and `Settings` when they are asked for: help does not wait for torch."""
    if name == "Run":
        from simple_dqn.run.run import Run

        return Run
    if name == "Settings":
        from simple_dqn.options.settings import Settings

        return Settings
    raise AttributeError(f"module {__name__} has no attribute {name}")
