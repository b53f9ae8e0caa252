"""A Gymnasium game that breaks, which `suite_games:Breaks-v0` names."""

from typing import Any

import gymnasium
import numpy as np


class Breaks(gymnasium.Env[Any, int]):
    """A game whose step fails."""

    action_space = gymnasium.spaces.Discrete(2)
    observation_space = gymnasium.spaces.Box(0, 9, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed, options=options)
        return np.zeros(1, np.float32), {}

    def step(self, action: int) -> Any:  # noqa: ARG002
        raise IndexError("off the board")


gymnasium.register("Breaks-v0", entry_point=Breaks)
