"""The state that each game is in now: its latest screens."""

import numpy as np
import numpy.typing as npt


class StateBuffer:
    """The last `history_length` screens of each game, oldest first.

    It exists apart from the replay memory so that screens of test games never get there.
    Screens from before a game's start are zero, as in DeepMind's code (TransitionTable.lua).

    Attributes:
        states: uint8 (num_games, history_length, height, width), changed in place by `add`.
    """

    def __init__(
        self, *, num_games: int, history_length: int, screen_shape: tuple[int, int]
    ) -> None:
        self.states: npt.NDArray[np.uint8] = np.zeros(
            (num_games, history_length, *screen_shape), np.uint8
        )

    def add(
        self, screens: npt.NDArray[np.uint8], starts: npt.NDArray[np.bool_] | None = None
    ) -> None:
        """Append each game's next screen.

        Args:
            screens: uint8 (num_games, height, width).
            starts: bool (num_games,), whose history begins with this screen; None: all.
        """
        if starts is None:
            self.states.fill(0)
        else:
            self.states[:, :-1] = self.states[:, 1:]
            if starts.any():
                self.states[starts, :-1] = 0
        self.states[:, -1] = screens
