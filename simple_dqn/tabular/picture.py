"""One picture of a tabular environment: the maps of two policies, and two curves of errors."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from simple_dqn.tabular.comparison import Comparison, TabularEnvironment
from simple_dqn.tabular.value_iteration import Array, best_actions

# Columns and rows of a step; rows count downwards.
_ARROWS = {"LEFT": (-1, 0), "DOWN": (0, 1), "RIGHT": (1, 0), "UP": (0, -1)}
_BLUE, _RED, _GREEN = "#0072B2", "#D55E00", "#009E73"


def draw_picture(
    game: TabularEnvironment,
    random_values: Array,
    optimal_values: Array,
    iteration_errors: Sequence[float],
    discount_rate: float,
    learned: Mapping[str, Sequence[Comparison]],
) -> bytes:
    """Draw the maps of both policies (if there is a map) and the errors; return a PNG.

    Values are Q, float64 (S, A). The errors of value iteration are max |Q_i - Q*| for i = 0, 1, ...
    """
    has_map = game.map is not None and set(game.action_meanings) <= set(_ARROWS)
    figure = Figure(figsize=(13, 11 if has_map else 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2 if has_map else 1, 2, squeeze=False)
    if has_map:
        everywhere, best = np.ones(random_values.shape, np.bool_), best_actions(optimal_values)
        axes[0, 0].set_title("Random policy: V and actions")
        _draw_map(axes[0, 0], game, random_values.mean(axis=1), everywhere)
        axes[0, 1].set_title("Optimal policy: V* and all its actions")
        _draw_map(axes[0, 1], game, optimal_values.max(axis=1), best)
    left, right = axes[-1]
    numbers = np.arange(len(iteration_errors))
    bound = iteration_errors[0] * discount_rate**numbers
    left.plot(numbers, iteration_errors, color=_BLUE, label="largest |Q_i - Q*|")
    left.plot(numbers, bound, "--", color=_RED, label="bound: gamma^i of the first")
    left.set(title="Value iteration", xlabel="iteration i", ylabel="error")
    for (name, rows), colour in zip(learned.items(), (_GREEN, _RED), strict=False):
        steps = [row.steps for row in rows]
        right.plot(steps, [row.largest_error for row in rows], color=colour, label=name)
    right.set(title="What was learned by playing", xlabel="steps", ylabel="largest |Q - Q*|")
    for panel in (left, right):
        # An error of 0 has no logarithm: the axis is linear below a millionth.
        panel.set_yscale("symlog", linthresh=1e-6)
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
        panel.legend()
    figure.suptitle(f"{game.name}, discount rate {discount_rate:g}")
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=90)
    return file.getvalue()


def _draw_map(
    axes: Axes, game: TabularEnvironment, values: Array, actions: npt.NDArray[np.bool_]
) -> None:
    """Draw a value and arrows in each reachable cell, and the map's letter in the others."""
    assert game.map is not None
    rows, columns = game.map.shape
    shown = np.where(game.reachable, values, np.nan).reshape(rows, columns)
    axes.imshow(shown, cmap="viridis", alpha=0.55)
    size = max(5.0, min(11.0, 70 / max(rows, columns)))
    for state, letter in enumerate(game.map.ravel()):
        row, column = divmod(state, columns)
        if not game.reachable[state]:
            axes.text(column, row, letter, ha="center", va="center", fontsize=size + 4)
            continue
        axes.text(column, row, f"{values[state]:.3g}", ha="center", va="center", fontsize=size)
        for action in np.flatnonzero(actions[state]):
            x, y = _ARROWS[game.action_meanings[action]]
            axes.annotate(
                "",
                (column + 0.45 * x, row + 0.45 * y),
                (column + 0.24 * x, row + 0.24 * y),
                arrowprops={"arrowstyle": "->", "color": "black", "lw": 1.2},
            )
    axes.set_xticks(np.arange(-0.5, columns), labels=[])
    axes.set_yticks(np.arange(-0.5, rows), labels=[])
    axes.grid(color="white", lw=1.5)
    axes.tick_params(length=0)
