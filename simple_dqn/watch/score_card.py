"""The scores of the games that were watched: what is on the card after each game."""

from collections.abc import Collection

YOU, NETWORK = "you", "the network"


class ScoreCard:
    """Keeps the scores of complete games, by who played them."""

    def __init__(self, mean_of_tests: float | None) -> None:
        """Begin without games; the network's own test had this mean score, if it is known."""
        self._mean_of_tests = mean_of_tests
        self._scores: dict[str, list[float]] = {}

    def add(self, score: float, players: Collection[str]) -> None:
        """Add the score of a game that ended; `YOU`, `NETWORK` or both played it."""
        self._scores.setdefault(" and ".join(sorted(players, reverse=True)), []).append(score)

    def lines(self) -> list[str]:
        """For each that played: the last score, the best and the mean; nothing without a game."""
        lines = []
        for players, scores in self._scores.items():
            line = f"{players[0].upper()}{players[1:]}: {scores[-1]:g}"
            if len(scores) > 1:
                mean = sum(scores) / len(scores)
                line += f", best {max(scores):g}, mean {mean:.4g} of {len(scores)} games"
            lines.append(line)
        if lines and self._mean_of_tests is not None:
            lines.append(f"The network's tests: mean {self._mean_of_tests:.4g}")
        return lines
