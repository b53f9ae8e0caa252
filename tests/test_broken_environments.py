"""Gymnasium environments with mistakes of their own, and games without an end."""

import logging
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from helpers import play

from simple_dqn.environments.gym import GymConsole, GymEnvironment
from simple_dqn.environments.gym_observations import check
from simple_dqn.errors import UserError
from simple_dqn.main import main
from simple_dqn.run import environments

OPTIONS = (
    "--environment gym --observations pictures --screen_width 36 --screen_height 36 "
    "--replay_size 500 --random_steps 60 --train_steps 60 --test_games 2 --epochs 1 --random_seed 0"
)
TINY = OPTIONS.split()


class Endless(gymnasium.Env[Any, int]):
    """A game that never ends; `broken` names a method that fails in its n-th call.

    What is `given` takes the place of what the third step gives.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 0.4}  # noqa: RUF012 (gymnasium's way)
    action_space = gymnasium.spaces.Discrete(2)
    observation_space = gymnasium.spaces.Box(0, 9, (1,), np.float32)

    def __init__(
        self, render_mode: str | None = None, broken: str = "", n: int = 0, **given: Any
    ) -> None:
        self.render_mode, self.given, self.steps = render_mode, given, 0
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
        self.steps += 1
        given = self.given if self.steps == 3 else {}
        seen, reward = given.get("seen", np.zeros(1, np.float32)), given.get("reward", 0.0)
        return seen, reward, False, False, {}

    def render(self) -> Any:
        self._break("render")
        return np.zeros((40, 40, 3), np.uint8)


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    gymnasium.register("Short-v0", entry_point=Endless, max_episode_steps=5)
    gymnasium.register("Endless-v0", entry_point=Endless)
    gymnasium.register("Wrong-v0", entry_point=Endless, disable_env_checker=True)
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


@pytest.mark.parametrize("value", [None, np.nan, 1e40, [1.0, 2.0], "x", [[1.0], 2.0]])
@pytest.mark.parametrize(("name", "what"), [("seen", "observation"), ("reward", "reward")])
def test_what_cannot_be_learned_is_an_error_that_names_its_step(
    name: str, what: str, value: Any
) -> None:
    console = GymConsole(environment_id="Wrong-v0", screen_shape=(36, 36), options={name: value})
    assert console.frames_per_second == 1
    console.start_game(0)
    for _ in range(2):
        console.act(0)
        assert console.observation(1) == 0
    with pytest.raises(UserError, match=f"Wrong-v0 gave a wrong {what} at step 3 of a game: "):
        console.observation(int(console.act(0)))


@pytest.mark.parametrize(
    ("space", "given"),
    [
        (spaces.Discrete(3), -1),
        (spaces.Dict({"a": spaces.Discrete(3)}), {"b": 1}),
        (spaces.Tuple([spaces.Box(0, 1, (2,))]), ([0, np.inf],)),
        (spaces.Box(0, 255, (2,), np.uint8), np.array([0, 300])),
    ],
)
def test_what_is_not_of_its_space_is_refused(space: spaces.Space[Any], given: Any) -> None:
    with pytest.raises((ValueError, KeyError)):
        check(space, given)


@pytest.mark.usefixtures("root")
def test_a_test_of_endless_games_ends(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "TEST_STEPS", 30)
    assert main(["train", "Endless-v0", *TINY]) == 0
    errors = capsys.readouterr().err
    assert "Endless-v0: games in tests are cut after 30 steps" in errors
    assert "epoch 1 test: 62 steps, 2 games" in errors


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
        # A step after the last shows the next game.
        assert np.flatnonzero(recording.game_overs).tolist() == [length]
        assert not recording.terminals.any()
        game.close()
