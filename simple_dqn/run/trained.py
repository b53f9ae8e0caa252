"""The network of a snapshot: whether it fits the settings, and a look inside it."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import torch

from simple_dqn.checkpoints.snapshot import Snapshot
from simple_dqn.deep_q_network import DeepQNetwork
from simple_dqn.errors import UserError
from simple_dqn.networks.guided_backpropagation import GuidedNetwork
from simple_dqn.networks.weights import check_arrays
from simple_dqn.options.kinds import as_text
from simple_dqn.options.settings import OF_NETWORK, Settings
from simple_dqn.run import parts

# With other values of these options, the same network sees other screens or acts at other times.
_OF_PLAY = ("frame_skip", "color_averaging", "repeat_action_probability")


def check_weights(
    settings: Settings, snapshot: Snapshot, observation_shape: tuple[int, ...]
) -> None:
    """Check that the weights of a snapshot are those of the network that the settings describe.

    NB! Before the network is made: one as large as a header says may not fit into memory.

    Raises:
        UserError: the network was trained with other options that decide what it is or sees, or
            its weights are not those of such a network.
    """
    for name, (then, now) in _differences(settings, snapshot, OF_NETWORK).items():
        raise UserError(
            f"the network of {snapshot.path} was trained with --{name} {as_text(then)} and cannot "
            f"be used with {as_text(now)}; give --{name} {as_text(then)}"
        )
    num_actions = len(snapshot.header["action_meanings"])
    with torch.device("meta"):  # no numbers
        layers = parts.make_layers(settings, num_actions, observation_shape)
    check_arrays(snapshot.arrays, layers.state_dict())


def changes_of_play(settings: Settings, snapshot: Snapshot) -> list[str]:
    """Describe the options that change a network's play and differ from those of its training."""
    return [
        f"--{name} is {as_text(now)} and was {as_text(then)} when the network was trained"
        for name, (then, now) in _differences(settings, snapshot, _OF_PLAY).items()
    ]


def load_network(
    settings: Settings, snapshot: Snapshot, observation_shape: tuple[int, ...]
) -> DeepQNetwork:
    """Make the network of a snapshot, after `check_weights`."""
    check_weights(settings, snapshot, observation_shape)
    settings = dataclasses.replace(settings, arithmetic="float32")  # of predictions
    threads = parts.choose_threads(settings)
    num_actions = len(snapshot.header["action_meanings"])
    network = parts.make_network(settings, num_actions, observation_shape, threads, 0)
    network.set_weights(snapshot.arrays)
    return network


def look_inside(
    settings: Settings, snapshot: Snapshot, observation_shape: tuple[int, ...]
) -> GuidedNetwork:
    """Make a copy of the network that shows what in a state speaks for an action."""
    num_actions = len(snapshot.header["action_meanings"])
    return parts.make_guided_network(settings, num_actions, observation_shape, snapshot.arrays)


def _differences(
    settings: Settings, snapshot: Snapshot, names: Iterable[str]
) -> dict[str, tuple[Any, Any]]:
    """The options that differ, by name: their values in the snapshot and in the settings."""
    trained_with = Settings(game=snapshot.header["game"], **snapshot.header["options"])
    values = {name: (getattr(trained_with, name), getattr(settings, name)) for name in names}
    return {name: (then, now) for name, (then, now) in values.items() if then != now}
