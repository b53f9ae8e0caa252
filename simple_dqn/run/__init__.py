"""A training run: options, the parts made of them, the epoch loop, and its files."""
