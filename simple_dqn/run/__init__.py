"""A training run: the parts made from its settings, and the epoch loop."""
