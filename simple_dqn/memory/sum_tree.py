"""A tree of sums: numbers are drawn in proportion to their size, and may change meanwhile."""

import numpy as np
import numpy.typing as npt

_BRANCHES = 64  # children of a node: few levels, each one NumPy call for a whole minibatch


class SumTree:
    """Numbers of 0 or more as the leaves of a tree whose nodes hold the sums of their children.

    Schaul et al. 2016 (Prioritized experience replay), appendix B.2.1.
    """

    def __init__(self, size: int) -> None:
        """Make `size` leaves of 0."""
        self._levels: list[npt.NDArray[np.float64]] = []  # leaves first; rows are siblings
        while True:
            rows = -(-size // _BRANCHES)
            self._levels.append(np.zeros((rows, _BRANCHES)))
            if rows == 1:
                return
            size = rows

    @property
    def total(self) -> float:
        """The sum of all leaves."""
        return float(self._levels[-1].sum())

    @property
    def nbytes(self) -> int:
        """Bytes of all levels."""
        return sum(level.nbytes for level in self._levels)

    def __getitem__(self, leaves: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return the numbers at the given leaves."""
        return self._levels[0].reshape(-1)[leaves]

    def __setitem__(
        self, leaves: npt.NDArray[np.int64], numbers: npt.NDArray[np.float64] | float
    ) -> None:
        """Change leaves. NB! Sums are computed again, so that no rounding errors add up."""
        self._levels[0].reshape(-1)[leaves] = numbers
        for level, above in zip(self._levels, self._levels[1:], strict=False):
            leaves = np.unique(leaves // _BRANCHES)
            above.reshape(-1)[leaves] = level[leaves].sum(axis=1)

    def find(self, sums: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Return the leaves, int64 (n,), at which the running sum over all first exceeds `sums`.

        The sums, (n,), go from 0 to below `total`, which is above 0, as the found leaves are.
        """
        nodes = np.zeros(len(sums), np.int64)
        for level in reversed(self._levels):
            running = level[nodes].cumsum(axis=1)  # (n, branches)
            # NB! Rounding may put a sum at or beyond the last of its running sums.
            sums = np.minimum(sums, np.nextafter(running[:, -1], 0))
            children = (running > sums[:, None]).argmax(axis=1)
            rows = np.arange(len(sums))
            sums = sums - np.where(children > 0, running[rows, children - 1], 0)
            nodes = nodes * _BRANCHES + children
        return nodes
