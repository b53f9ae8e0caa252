"""Steering: the keys of the directions, and the action that fits the directions held down."""

from collections.abc import Collection

DIRECTIONS = ("UP", "DOWN", "RIGHT", "LEFT", "FIRE")  # in the order of ALE's names: UPRIGHTFIRE
STEERING = {"up": "UP", "down": "DOWN", "right": "RIGHT", "left": "LEFT", " ": "FIRE"}
STEERING |= {"w": "UP", "s": "DOWN", "d": "RIGHT", "a": "LEFT"}


def action_of(held: Collection[str], action_meanings: list[str]) -> int | None:
    """Choose the action that fits the held directions best, out of ALE's names by number.

    In a game without up and down, up counts as right and down as left: in Pong, RIGHT moves the
    paddle up. None: no action fits, and the game has none that does nothing.
    """
    directions = set(held)
    if not any(name.startswith(("UP", "DOWN")) for name in action_meanings):
        vertical = {"UP": "RIGHT", "DOWN": "LEFT"}
        directions = {vertical.get(direction, direction) for direction in held}
    wanted = [direction for direction in DIRECTIONS if direction in directions]
    moves = [direction for direction in wanted if direction != "FIRE"]
    fire = wanted[len(moves) :]
    candidates = ["".join(wanted), *("".join([move, *fire]) for move in moves)]
    candidates += ["".join(moves), *wanted, "NOOP"]
    fitting = (action_meanings.index(name) for name in candidates if name in action_meanings)
    return next(fitting, None)
