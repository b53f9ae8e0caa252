"""Numbers that change in the course of training."""

from dataclasses import dataclass

from simple_dqn.agent import Rate


@dataclass(frozen=True)
class LinearSchedule:
    """A number that goes linearly from `start` to `end` within so many steps, then stays.

    `end` may be an array; then the schedule gives an array, each of whose numbers goes to its end.
    """

    start: float
    end: Rate
    steps: int

    def __call__(self, step: int) -> Rate:
        """Return the number after so many training steps."""
        if step >= self.steps:
            return self.end
        return self.start + (self.end - self.start) * step / self.steps
