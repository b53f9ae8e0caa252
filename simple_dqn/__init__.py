"""simple_dqn: deep Q-learning on Atari 2600 games."""

__version__ = "0.1.0"
