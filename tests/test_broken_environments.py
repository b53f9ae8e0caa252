"""Gymnasium environments with mistakes of their own, and games without an end."""

import logging
from typing import Any

import gymnasium
import numpy as np
import pytest
from helpers import play

from simple_dqn.environments.gym import GymEnvironment
from simple_dqn.main import main
from simple_dqn.run import environments

OPTIONS = (
    "--environment gym --observations pictures --screen_width 36 --screen_height 36 "
    "--replay_size 500 --random_steps 60 --train_steps 60 --test_games 2 --epochs 1 --random_seed 0"
)
TINY = OPTIONS.split()


class Endless(gymnasium.Env[Any, int]):
    """A game that never ends; `broken` names a method that fails in its n-th call."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012 (gymnasium's way)
    action_space = gymnasium.spaces.Discrete(2)
    observation_space = gymnasium.spaces.Box(0, 9, (1,), np.float32)

    def __init__(self, render_mode: str | None = None, broken: str = "", n: int = 0) -> None:
        self.render_mode = render_mode
        self._broken, self._left = broken, n
        self._break("make")

    def _break(self, name: str) -> None:
        if name == self._broken:
            self._left -= 1
            if self._left <= 0:
                raise IndexError("list index\nout of range")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed, options=options)
        self._break("reset")
        return np.zeros(1, np.float32), {}

    def step(self, action: int) -> Any:  # noqa: ARG002
        self._break("step")
        return np.zeros(1, np.float32), 0.0, False, False, {}

    def render(self) -> Any:
        self._break("render")
        return np.zeros((40, 40, 3), np.uint8)


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    gymnasium.register("Short-v0", entry_point=Endless, max_episode_steps=5)
    gymnasium.register("Endless-v0", entry_point=Endless)
    for method, n in (("make", 1), ("reset", 1), ("step", 7), ("render", 8)):
        kwargs = {"broken": method, "n": n}
        gymnasium.register(f"Broken-{method}-v0", entry_point=Endless, kwargs=kwargs)


@pytest.mark.parametrize(
    ("method", "step"), [("make", None), ("reset", 0), ("step", 7), ("render", 7)]
)
@pytest.mark.usefixtures("root")
def test_a_mistake_of_the_environment_is_an_error_that_names_its_step(
    capsys: pytest.CaptureFixture[str], method: str, step: int | None
) -> None:
    assert main(["train", f"Broken-{method}-v0", *TINY, "--log_level", "ERROR"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"Broken-{method}-v0" in line
    assert "list index" in line
    if step is not None:
        assert f"{method}() at step {step} " in line


@pytest.mark.usefixtures("root")
def test_a_test_of_endless_games_ends(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "TEST_STEPS", 30)
    assert main(["train", "Endless-v0", *TINY]) == 0
    errors = capsys.readouterr().err
    assert "Endless-v0: games in tests are cut after 30 steps" in errors
    assert "epoch 1 test: 60 steps, 2 games" in errors


def test_only_games_that_may_last_longer_are_cut(caplog: pytest.LogCaptureFixture) -> None:
    """Without a limit of the caller's, and below it, the environment's own limit holds."""
    for name, limit, is_logged, length in (
        ("Short-v0", 30, False, 5),
        ("Short-v0", 3, True, 3),
        ("Endless-v0", 4, True, 4),
        ("Short-v0", None, False, 5),
    ):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            game = GymEnvironment(
                environment_id=name, num_games=1, screen_shape=(36, 36), max_steps=limit
            )
        assert bool(caplog.records) == is_logged
        recording = play(game, np.zeros((length + 1, 1), np.int64))
        assert np.flatnonzero(recording.game_overs).tolist() == [length - 1]
        assert not recording.terminals.any()
        game.close()
