"""What a person may write: a memory, a writer and a game, each in a class; see also `iqn.py`."""

from typing import Any

from catch import Catch

from simple_dqn.replay_memory import ReplayMemory
from simple_dqn.statistics import Row, Writer


class OwnMemory(ReplayMemory):
    """Draws as the base class does."""

    def __init__(self, settings: Any, **parts: Any) -> None:  # noqa: ARG002
        super().__init__(**parts)


class Rows(Writer):
    """Keeps the rows."""

    kept: list[Row] = []  # noqa: RUF012

    def on_run_start(self, run: Any) -> None:
        assert len(run.memory) == 0
        self.kept.clear()

    def write(self, row: Row) -> None:
        self.kept.append(row)


class CatchGame(Catch):
    """Catch, as a run makes it."""

    def __init__(self, game: str, num_games: int) -> None:
        assert game == "catch"
        super().__init__(num_games=num_games)
