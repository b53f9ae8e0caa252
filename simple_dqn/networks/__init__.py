"""What the deep Q-network is made of: layers, heads, optimizers and their helpers."""
