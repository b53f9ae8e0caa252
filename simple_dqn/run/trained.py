"""The network of a snapshot, and a look inside it."""

from simple_dqn.deep_q_network import DeepQNetwork
from simple_dqn.networks.guided_backpropagation import GuidedNetwork
from simple_dqn.run import parts
from simple_dqn.run.options import Settings
from simple_dqn.run.snapshot import Snapshot


def load_network(settings: Settings, snapshot: Snapshot) -> DeepQNetwork:
    """Make the network of a snapshot."""
    threads = parts.choose_threads(settings)
    network = parts.make_network(settings, *_sizes(settings, snapshot), threads, 0)
    network.set_weights(snapshot.arrays)
    return network


def look_inside(settings: Settings, snapshot: Snapshot) -> GuidedNetwork:
    """Make a copy of the network that tells what in a state speaks for an action."""
    device = parts.choose_threads(settings).device
    sizes = _sizes(settings, snapshot)
    return parts.make_guided_network(settings, *sizes, snapshot.arrays, device)


def _sizes(settings: Settings, snapshot: Snapshot) -> tuple[int, tuple[int, int]]:
    """Number of actions, shape of a screen."""
    num_actions = len(snapshot.header["action_meanings"])
    return num_actions, (settings.screen_height, settings.screen_width)
