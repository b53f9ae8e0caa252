"""Q-learning with a table: value iteration, Q-table, and how a network compares with both."""
