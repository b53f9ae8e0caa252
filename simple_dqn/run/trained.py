"""The network of a snapshot, and a look inside it."""

from simple_dqn.deep_q_network import DeepQNetwork
from simple_dqn.networks.guided_backpropagation import GuidedNetwork
from simple_dqn.run import parts
from simple_dqn.run.options import Settings
from simple_dqn.run.snapshot import Snapshot


def load_network(settings: Settings, snapshot: Snapshot) -> DeepQNetwork:
    """Make the network of a snapshot."""
    num_actions = len(snapshot.header["action_meanings"])
    network = parts.make_network(settings, num_actions, parts.choose_threads(settings))
    network.set_weights(snapshot.arrays)
    return network


def look_inside(network: DeepQNetwork) -> GuidedNetwork:
    """A copy of the network that tells what in a state speaks for something."""
    return GuidedNetwork(network.copy_network(), network.values)
