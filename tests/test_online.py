"""Q-learning online: returns against their definition, and every transition handed out."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simple_dqn.main import main
from simple_dqn.memory.observations import ObservationsInMemory
from simple_dqn.memory.online import OnlineMemory
from simple_dqn.returns import NStepReturn

STRETCH, GAMES, ACTIONS, RATE, DECAY = 6, 2, 3, 0.9, 0.7
# What each game does at a step: continues, loses a life, ends, or is cut short by a time limit.
ENDS = {"on": (False, False), "life": (True, False), "end": (True, True), "limit": (False, True)}


def make_memory(batch_size: int = 4) -> OnlineMemory:
    return OnlineMemory(
        stretch=STRETCH,
        trace_decay=DECAY,
        observations=ObservationsInMemory(GAMES, 2 * STRETCH + 2, (1,), np.dtype(np.float32)),
        history_length=2,
        batch_size=batch_size,
        n_step_return=NStepReturn(1, RATE, -1.0, 1.0),
    )


class Values:
    """A network whose Q-values are drawn at each step; keeps them."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(5)
        self.all: list[np.ndarray] = []

    def predict(self, states: np.ndarray) -> np.ndarray:
        values = self.rng.normal(size=(len(states), ACTIONS)).astype(np.float32)
        self.all.append(values)
        return values


def returned(
    rewards: list[float], values: list[float], ends: list[str], begin: int, last: int
) -> float:
    """Q(lambda) as what it is: a mixture of the returns of 1, 2, ... steps.

    `last` is the step after the stretch; its value and all earlier ones are known.
    """
    discounted, total, weight = 0.0, 0.0, 1.0
    for n in range(1, last - begin + 1):
        step = begin + n - 1
        discounted += RATE ** (n - 1) * min(max(rewards[step], -1.0), 1.0)
        if ends[step] in ("life", "end"):
            return total + weight * discounted
        n_step = discounted + RATE**n * values[step + 1]
        if step + 1 == last or ends[step + 1] == "limit":
            return total + weight * n_step
        total += weight * (1 - DECAY) * n_step
        weight *= DECAY
    raise AssertionError


@settings(max_examples=40, deadline=None)
@given(
    kinds=st.lists(
        st.tuples(*[st.sampled_from([*ENDS, "on", "on"])] * GAMES), min_size=20, max_size=20
    ),
    exploration_rate=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_returns_are_those_of_the_definition(
    kinds: list[tuple[str, ...]], exploration_rate: float
) -> None:
    """Two stretches and more; each is handed out completely while the next one is played."""
    memory, network, rng = make_memory(), Values(), np.random.default_rng(1)
    rewards = rng.normal(size=(len(kinds), GAMES)) * 1.5
    seen = np.arange(1.0, len(kinds) * GAMES + 1).reshape(-1, GAMES)  # what each state is known by
    for step, ends in enumerate(kinds):
        states = np.stack([seen[step] * 0, seen[step]], axis=1)[..., None]
        actions = memory.choose_actions(network, states, exploration_rate, ACTIONS, rng)
        best = network.all[-1].argmax(axis=1) == actions
        assert best.all() or exploration_rate > 0
        complete = kinds[step // STRETCH * STRETCH - STRETCH : step // STRETCH * STRETCH]
        assert memory.can_sample() == any(set(ends) != {"limit"} for ends in complete)
        if step and step % STRETCH == 0:
            values, begin = np.max(network.all, axis=2), step - STRETCH
            expected = {
                seen[at, game]: returned(
                    list(rewards[:, game]),
                    list(values[:, game]),
                    [k[game] for k in kinds],
                    at,
                    step,
                )
                for game in range(GAMES)
                for at in range(begin, step)
                if kinds[at][game] != "limit"
            }
            handed_out: Counter[float] = Counter()
            while len(expected) and handed_out.total() < 2 * len(expected):
                minibatch = memory.get_minibatch(rng, step)
                for state, value in zip(minibatch.prestates, minibatch.returns, strict=True):
                    handed_out[state[-1, 0]] += 1
                    assert value == pytest.approx(expected[state[-1, 0]], abs=1e-6)
                assert not minibatch.discounts.any()
            assert set(handed_out) == set(expected)
            assert max(handed_out.values(), default=0) <= 3
        flags = np.array([ENDS[kind] for kind in ends]).T
        memory.add(seen[step][:, None], actions, rewards[step].astype(np.float32), *flags)


def test_nothing_is_learned_across_a_break() -> None:
    memory, network, rng = make_memory(), Values(), np.random.default_rng(1)
    never = np.zeros(GAMES, bool)
    for phase in range(2):
        for step in range(STRETCH + 2):
            memory.choose_actions(network, np.zeros((GAMES, 2, 1)), 0.5, ACTIONS, rng)
            assert memory.can_sample() == (step >= STRETCH)
            observations = np.full((GAMES, 1), phase + 1.0)
            memory.add(observations, never * 0, never.astype(np.float32), never, never)
        minibatch = memory.get_minibatch(rng, 0)
        assert set(np.unique(minibatch.prestates)) <= {0.0, phase + 1.0}
        memory.cut()
        assert not memory.can_sample()
        assert len(memory) == 0


def test_what_does_not_go_with_it_is_named(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--memory", "online", "--n_step", "3", "--double_q", "true"]
    assert main(["train", "pong", *options]) == 1
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert line.endswith("--memory online does not go with --n_step, --double_q; leave them out")
    assert not [path for path in root.rglob("*") if path.is_file() and path.suffix != ".lock"]
