"""Gymnasium's environments: what a network sees of them, from the command line to the film."""

import logging
import re
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import av
import gymnasium
import numpy as np
import numpy.typing as npt
import pytest
from catch import Catch, VectorCatch
from gymnasium import spaces
from helpers import make_memory
from kill_driver import rows as read_rows
from test_main import refused

from simple_dqn.environment import TimeStep
from simple_dqn.environments.gym import GymConsole, GymEnvironment, action_names
from simple_dqn.environments.gym_observations import reading_of
from simple_dqn.environments.screens import to_screen
from simple_dqn.main import main
from simple_dqn.returns import NStepReturn

OPTIONS = (
    "--environment gym --network 8,8 --optimizer adam --replay_size 300 --random_steps 50 "
    "--train_steps 100 --test_steps 60 --test_games 0 --epochs 2 --random_seed 0 --backend cpu"
)
SMALL = OPTIONS.split()
C51 = ["--distributional", "c51", "--terminal_reward", "-100"]
PICTURES = ["--observations", "pictures", "--network", "nips"]

pytestmark = pytest.mark.usefixtures("root")


class Dictionary(gymnasium.Env[Any, Any]):
    """Observations are dictionaries; a game has three steps, and action 1 is rewarded."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 9}
    action_space: spaces.Space[Any] = spaces.Discrete(2)
    observation_space: spaces.Space[Any] = spaces.Dict(
        {"place": spaces.Discrete(3), "pair": spaces.Tuple([spaces.Box(0, 9, (2,))])}
    )

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.place = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self.place = 0
        return self.seen(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        over = self.place == 2
        self.place = min(self.place + 1, 2)
        return self.seen(), float(action), over, False, {}

    def render(self) -> Any:
        return None

    def seen(self) -> dict[str, Any]:
        return {"place": self.place, "pair": (np.array([self.place, 7], np.float32),)}


class Keyed(Dictionary):
    """Keys have names: letters, or numbers of letters and of arrows."""

    action_space = spaces.Discrete(4)

    def get_keys_to_action(self) -> dict[tuple[int | str, ...], int]:
        return {(): 0, ("w", " "): 1, (ord("a"),): 2, (1073741903,): 3, ("q",): 3}

    def render(self) -> Any:
        raise gymnasium.error.DependencyNotInstalled("pygame is not installed")


class LastStepPays(gymnasium.Env[Any, Any]):
    """The observation is the time; a limit cuts the game after the step that can pay."""

    action_space = spaces.Discrete(2)
    observation_space = spaces.Box(0, 10, (1,))
    time = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self.time = 0
        return np.array([0], np.float32), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.time += 1
        reward = float(self.time == 10 and action == 1)
        return np.array([self.time], np.float32), reward, False, self.time == 10, {}


class OwnCatch(VectorCatch):
    """A person's own environment, which `--environment test_gym:OwnCatch` loads."""

    def __init__(self, *, game: str, num_games: int, scale: float = 1.0) -> None:
        super().__init__(num_games=num_games)
        self.scale = scale
        assert game == "catching"

    def observe(self) -> TimeStep:
        step = super().observe()
        return step._replace(rewards=step.rewards * np.float32(self.scale))

    def render(self) -> npt.NDArray[np.uint8]:
        screens: npt.NDArray[np.uint8] = Catch._observations(self)
        return screens[0]


CHANGED: dict[str, dict[str, spaces.Space[Any]]] = {  # what a Dictionary has in its place
    "Text": {"observation_space": spaces.Sequence(spaces.Discrete(3))},  # of no fixed size
    "Matrix": {"observation_space": spaces.Box(0, 1, (33, 40))},  # neither a picture nor small
    "Steered": {"action_space": spaces.Box(-1, 1, (1,), np.float32)},  # not discrete
    "Many": {"action_space": spaces.Discrete(257)},  # more than a byte holds
}
for kind in (Dictionary, Keyed, LastStepPays):
    gymnasium.register(f"{kind.__name__}-v0", entry_point=kind)
for name, changes in CHANGED.items():
    gymnasium.register(f"{name}-v0", entry_point=type(name, (Dictionary,), changes))


CODES = np.array([[[[9, 1, 0]], [[2, 0, 0]]]], np.float32)  # no colours


def make(environment_id: str, num_games: int = 1, **changes: Any) -> GymEnvironment:
    return GymEnvironment(
        environment_id=environment_id, num_games=num_games, screen_shape=(84, 84), **changes
    )


def steer(observation: npt.NDArray[np.float32]) -> int:
    """Hold CartPole's pole upright."""
    place, speed, angle, turning = observation
    return int(angle + 0.4 * turning + 0.05 * place + 0.1 * speed > 0)


def test_the_500_steps_of_cartpole_are_a_cut_and_a_fall_is_a_terminal() -> None:
    environment = make("CartPole-v1")
    seen = environment.restart(1)
    for step in range(1, 515):
        environment.act(np.array([steer(seen[0]) if step <= 500 else 0]))
        seen, _, terminals, game_overs = environment.observe()
        assert game_overs == (step == 501 or terminals)
        assert not terminals or step > 501
        if terminals:
            break
    assert terminals


@pytest.mark.parametrize(
    ("space", "seen", "expected"),
    [
        (spaces.Box(-9, 9, (2,), np.float64), [[1.5, -3]], np.array([[1.5, -3]], np.float32)),
        (spaces.Box(-9, 9, (), np.float32), [1.5, 2], np.array([[1.5], [2]], np.float32)),
        (spaces.Box(0, 255, (3,), np.uint8), [[1, 2, 255]], np.array([[1, 2, 255]], np.uint8)),
        (
            spaces.Box(0, 1, (1, 1, 3), np.bool_),
            [[[[0, 1, 0]]]],
            np.array([[[[0, 255, 0]]]], np.uint8),
        ),
        (spaces.Discrete(4, start=2), [2, 5], np.array([[255, 0, 0, 0], [0, 0, 0, 255]], np.uint8)),
        (spaces.MultiDiscrete([2, 3]), [[1, 0]], np.array([[0, 255, 255, 0, 0]], np.uint8)),
        (spaces.Box(0, 255, (2, 1, 3), np.uint8), [[[[9, 1, 0]], [[2, 0, 0]]]], CODES),
        (spaces.Box(-9, 9, (2, 2), np.float64), [[[1, 2], [3, 4]]], np.float32([[1, 2, 3, 4]])),
        (spaces.MultiBinary(3), [[1, 0, 1]], np.array([[255, 0, 255]], np.uint8)),
    ],
)
def test_what_is_observed_becomes_numbers(
    space: spaces.Space[Any], seen: list[Any], expected: npt.NDArray[Any]
) -> None:
    reading = reading_of(space, (84, 84))
    given = np.array(seen, space.dtype)
    read = np.stack([reading.read(each) for each in given])
    np.testing.assert_array_equal(read, expected)
    assert read.dtype == expected.dtype == reading.dtype
    assert read.shape == (len(seen), *reading.shape)
    assert not np.shares_memory(reading.read(given[0]), given)


def test_pictures_are_screens() -> None:
    """Bytes of a picture's shape; and what is rendered, in which floats are not black."""
    for shape in ((40, 50), (40, 50, 1), (40, 50, 3)):
        reading = reading_of(spaces.Box(0, 255, shape, np.uint8), (10, 15))
        screen = reading.read(np.full(shape, 90, np.uint8))
        assert screen.shape == reading.shape == (10, 15)
        assert (screen == 90).all()
    for shape in ((10, 10), (10, 10, 1), (10, 10, 3), (10, 10, 4)):
        for dtype in (np.float32, np.float64):
            assert (to_screen(np.full(shape, 0.5, dtype), (36, 40)) == 128).all()
            assert (to_screen(np.full(shape, 200, dtype), (36, 40)) == 200).all()
        assert (to_screen(np.full(shape, True), (36, 40)) == 255).all()


@pytest.mark.filterwarnings("ignore:.*out of date")
def test_ataris_games_have_ids_too() -> None:
    for environment_id in ("ALE/Breakout-v5", "Breakout-v0"):
        environment = make(environment_id)
        assert environment.restart(0).shape == (1, 84, 84)
        assert environment.action_meanings == ("NOOP", "FIRE", "RIGHT", "LEFT")
        environment.close()


def test_dictionaries_and_tuples_are_flattened() -> None:
    """In Gymnasium's order of the keys: the pair, then the place as one of three."""
    environment = make("Dictionary-v0", num_games=2)
    assert environment.observation_shape == (5,)
    assert environment.restart(0).tolist() == [[0, 7, 1, 0, 0]] * 2
    environment.act(np.array([0, 1]))
    time_step = environment.observe()
    assert time_step.observations.tolist() == [[1, 7, 0, 1, 0]] * 2
    assert time_step.observations.dtype == np.float32
    assert main(["train", "Dictionary-v0", *SMALL]) == 0


@pytest.mark.filterwarnings("ignore:.*RGB-array rendering")
@pytest.mark.parametrize(
    ("arguments", "what_is_wrong"),
    [
        (["Matrix-v0", "--network", "nature"], "give larger ones, or --network mlp"),
        (["CartPole-v1", *C51], "bring --min_reward, --max_reward and --terminal_reward within"),
        (["Text-v0"], "cannot learn from observations of Sequence"),
        (["Steered-v0"], "discrete ones are needed"),
        (["Many-v0"], "at most 256"),
        (["Keyed-v0", *PICTURES], "failed in render() at step 0"),
        (["Keyed-v0", *PICTURES], "pygame is not installed"),
        (["Dictionary-v0", *PICTURES], "does not render a picture"),
        (["NoSuch-v0"], "Gymnasium cannot make 'NoSuch-v0'"),
        (["no_such_package:Game-v0"], "no_such_package"),
        (["CartPole-v1", "--environment_options", '{"wheels": 4}'], "wheels"),
        (["CartPole-v1", "--network", "nature"], "give --network mlp, or --network 64,64"),
        (["CartPole-v1", "--environment", "torcs"], "unknown environment 'torcs'"),
        (["CartPole-v1", "--environment", "no_module:Game"], "cannot import --environment"),
        (["CartPole-v1", "--environment", "test_gym:Nobody"], "cannot import --environment"),
        (["CartPole-v1", "--environment", "pathlib:Path"], "not a subclass"),
        (["catching", "--environment", "catch:Catch"], "cannot make environment"),
    ],
)
def test_what_cannot_be_played_is_refused(
    root: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], what_is_wrong: str
) -> None:
    assert what_is_wrong in refused(capsys, 1, "train", arguments[0], *SMALL, *arguments[1:])
    assert not list(root.rglob("*.safetensors"))


@pytest.mark.parametrize("name", ["CartPole-v1", "Taxi-v4", "catching"])
def test_vectors_are_learned_tested_resumed_and_drawn(
    root: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options, consent = [*SMALL, name], []
    if name == "catching":
        consent = ["--allow_import", "true"]
        options += ["--environment", "test_gym:OwnCatch", "--environment_options", '{"scale": 2}']
        options += ["--frame_skip", "2"]
    assert main(["train", *options, "--log_games", "true"]) == 0
    errors = capsys.readouterr().err
    assert re.search(r"replay memory: 300 steps of \d+ bytes", errors)
    assert "held-out states" in errors
    outside = {"Taxi-v4": "-10", "catching": "-?2"}.get(name, "none")
    assert len(re.findall(f"a reward of {outside} is clipped to -1 ... 1;", errors)) == (
        outside != "none"
    )
    assert errors.count("--frame_skip does nothing: it is for --environment ale") == bool(consent)
    if name != "Taxi-v4":
        assert re.search(r"Episode 1: score=-?\d+, eps=1.00", errors)
    table = root / "results" / f"{name}.csv"
    rows = read_rows(table)
    assert [row["phase"] for row in rows] == ["random", "train", "test", "train", "test"]
    first, second = (root / "snapshots" / f"{name}_{epoch}.safetensors" for epoch in (1, 2))
    assert main(["test", str(second), *consent]) == 0
    second.unlink()
    assert main(["train", *options, "--overwrite", "true", "--epochs", "1"]) == 0
    assert main(["resume", str(first), "--epochs", "2", *consent]) == 0
    assert read_rows(table) == rows
    assert main(["plot", str(table)]) == 0
    if consent:
        assert main(["record", str(first), *consent]) == 0
        with av.open(str(root / "videos" / "catching_1.mp4")) as container:
            assert container.streams.video[0].frames >= 4
        monkeypatch.delattr(OwnCatch, "render")
        assert "a method render()" in refused(capsys, 1, "record", str(second), *consent)


def test_an_epoch_may_last_a_number_of_games(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the text's 500 episodes do; a resumed run repeats them."""
    options = ["train", "CartPole-v1", *SMALL, "--train_games", "4"]
    assert main([*options, "--log_games", "true"]) == 0
    lines = re.findall(r"Episode (\d)/4: score=\d+, eps=[01]\.\d\d\n", capsys.readouterr().err)
    assert lines == ["1", "2", "3", "4"] * 2
    rows = read_rows(root / "results" / "CartPole-v1.csv")
    assert [row["nr_games"] for row in rows if row["phase"] == "train"] == ["4", "4"]
    assert main([*options, "--overwrite", "true", "--epochs", "1"]) == 0
    first = root / "snapshots" / "CartPole-v1_1.safetensors"
    assert main(["resume", str(first), "--epochs", "2"]) == 0
    assert read_rows(root / "results" / "CartPole-v1.csv") == rows


def test_the_importance_exponent_stays_in_epochs_of_games(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It does not follow the steps of epochs that are not counted in steps."""
    options = ["train", "CartPole-v1", *SMALL, "--train_games", "4", "--prioritized", "true"]
    results = []
    for steps in ("1", "100_000"):
        assert main([*options, "--train_steps", steps, "--overwrite", "true"]) == 0
        assert "--importance_exponent stays: games do not say" in capsys.readouterr().err
        results.append(read_rows(root / "results" / "CartPole-v1.csv"))
    assert results[0] == results[1]


@pytest.mark.parametrize("observations", ["auto", "pictures"])
def test_a_game_is_filmed_and_played(
    root: Path,
    observations: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = [*SMALL, "--epochs", "1", "--observations", observations]
    if observations == "pictures":
        options += ["--network", "nips", "--train_steps", "20", "--test_steps", "20"]
    assert main(["train", "CartPole-v1", *options]) == 0
    snapshot = str(root / "snapshots" / "CartPole-v1_1.safetensors")
    assert main(["record", snapshot, "--show_mind", "true"]) == 0
    with av.open(str(root / "videos" / "CartPole-v1_1.mp4")) as container:
        assert not container.streams.audio
        video = container.streams.video[0]
        assert (video.width, video.height) == (630 + 360, 420)
        assert video.average_rate == 50
        assert video.frames >= 8
    with_sound = ["record", snapshot, "--record_sound_filename", "x.wav", "--overwrite", "true"]
    assert "makes no sound" in refused(capsys, 1, *with_sound)
    if observations == "auto":
        assert "no filters" in refused(capsys, 1, "nvis", snapshot)
    else:
        assert main(["nvis", snapshot, "--visualization_filters", "1"]) == 0

    pressed = [["m"], ["v"], [], [], [], ["q"]]
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setattr(
        "simple_dqn.watch.window.Window.poll", lambda _: (pressed.pop(0), {"RIGHT"})
    )
    assert main(["play", snapshot, "--record_experience", str(root / "mine.safetensors")]) == 0
    again = ["train", "CartPole-v1", "taught", *options, "--load_experience"]
    assert main([*again, str(root / "mine.safetensors")]) == 0
    assert "steps of a person's play" in capsys.readouterr().err


def test_games_are_those_of_gymnasium() -> None:
    """The same seeds and actions: the same steps; a cut game shows its last observation."""
    environment, rng = make("CartPole-v1", 3, max_steps=25), np.random.default_rng(0)
    twins = [gymnasium.make("CartPole-v1", max_episode_steps=25) for _ in range(3)]
    seeds = (np.random.SeedSequence(3).generate_state(3) >> 1).tolist()
    first = [twin.reset(seed=seed)[0] for twin, seed in zip(twins, seeds, strict=True)]
    np.testing.assert_array_equal(environment.restart(3), first)
    was_cut, cuts_met = [False] * 3, 0
    for _ in range(300):
        actions = rng.integers(2, size=3)
        environment.act(actions)
        for i, ours in enumerate(zip(*environment.observe(), strict=True)):
            if was_cut[i]:
                expected, was_cut[i] = (twins[i].reset()[0], 0, False, True), False
            else:
                observation, reward, terminal, cut, _ = twins[i].step(actions[i])
                was_cut[i] = cut and not terminal
                observation = twins[i].reset()[0] if terminal else observation
                expected = (observation, reward, terminal, terminal)
            for our, their in zip(ours, expected, strict=True):
                np.testing.assert_array_equal(our, their)
        cuts_met += sum(was_cut)
    assert cuts_met


@pytest.mark.parametrize("n_step", [1, 3])
def test_the_step_that_a_time_limit_cuts_is_learned(n_step: int) -> None:
    """Games of 10 steps; the last one pays 1 after action 1."""
    environment = make("LastStepPays-v0")
    memory = make_memory(
        lane_size=500,
        observation_shape=(1,),
        observation_dtype=np.float32,
        history_length=1,
        n_step=n_step,
        batch_size=500,
    )
    seen, rng = environment.restart(1), np.random.default_rng(1)
    for _ in range(500):
        actions = rng.integers(2, size=1)
        environment.act(actions)
        step = environment.observe()
        memory.add(seen, actions, step.rewards, step.terminals, step.game_overs)
        seen = step.observations
    minibatch = memory.get_minibatch(rng, 0)
    start, end = minibatch.prestates[:, 0, 0], minibatch.poststates[:, 0, 0]
    np.testing.assert_array_equal(end, np.minimum(start + n_step, 10))
    np.testing.assert_array_equal(minibatch.discounts, 0.5 ** (end - start))
    last = start == 9
    assert last.any()
    np.testing.assert_array_equal(minibatch.returns[last], minibatch.actions[last])
    assert not minibatch.returns[end < 10].any()


def test_a_console_has_keys_and_pictures(caplog: pytest.LogCaptureFixture) -> None:
    make_console = partial(GymConsole, screen_shape=(84, 84))
    assert make_console(environment_id="Keyed-v0").keys == {
        frozenset(): 0,
        frozenset({"UP", "FIRE"}): 1,
        frozenset({"LEFT"}): 2,
        frozenset({"RIGHT"}): 3,
    }
    with caplog.at_level(logging.WARNING):
        console = make_console(environment_id="CartPole")
    (line,) = caplog.messages
    assert re.match(
        "Gymnasium: Using the latest versioned environment `CartPole-v1`[^\x1b]*$", line
    )
    console.start_game(0)
    assert console.picture().shape == (400, 600, 3)
    assert console.enlarge(console.picture()).shape == (420, 630, 3)


def test_actions_have_names() -> None:
    game = gymnasium.make("CartPole-v1")
    assert action_names("CartPole-v1", game, 2) == ("LEFT", "RIGHT")
    assert action_names("package:Unknown-v0", game, 3) == ("LEFT", "NOOP", "RIGHT")
    assert action_names("Unknown-v0", game, 5) == ("0", "1", "2", "3", "4")
    assert action_names("flappy_bird_gymnasium:FlappyBird-v0", game, 2) == ("NOOP", "FIRE")


def test_the_reward_of_an_end_takes_the_place_of_the_games_own() -> None:
    """Not clipped; after the end, and where a game continues, nothing changes."""
    rewards = np.array([[1, 1], [1, 5], [1, 1]], np.float32)
    ended = np.array([[False, False], [True, True], [False, True]])
    returns, discounts = NStepReturn(2, 0.5, -1, 1, terminal_reward=-10)(
        rewards, ended, np.zeros_like(ended)
    )
    np.testing.assert_array_equal(returns, [1.5, -10, 1 - 5])
    np.testing.assert_array_equal(discounts, [0.25, 0, 0])
