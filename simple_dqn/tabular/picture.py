"""One picture of a tabular environment: the maps of two policies, and two curves of errors."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from simple_dqn.reports.curves import new_figure, write_figure
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
    output: Path,
) -> None:
    """Draw the maps of both policies (if there is a map) and the errors into a file.

    Values are Q, float64 (S, A). The errors of value iteration are max |Q_i - Q*| for i = 0, 1, ...
    """
    has_map = game.map is not None and set(game.action_meanings) <= set(_ARROWS)
    figure = new_figure(figsize=(13, 11 if has_map else 5.5))
    axes = figure.subplots(2 if has_map else 1, 2, squeeze=False)
    if has_map:
        everywhere, best = np.ones(random_values.shape, np.bool_), best_actions(optimal_values)
        axes[0, 0].set_title("Random policy: V and actions")
        draw_map(axes[0, 0], game, random_values.mean(axis=1), everywhere)
        axes[0, 1].set_title("Optimal policy: V* and all its actions")
        draw_map(axes[0, 1], game, optimal_values.max(axis=1), best)
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
        panel.margins(x=0.03)
        panel.set_ylim(-3e-7, 2 * panel.dataLim.y1)  # no curve is on the border
        panel.grid(alpha=0.3)
        panel.legend()
    figure.suptitle(f"{game.name}, discount rate {discount_rate:g}")
    write_figure(figure, output, dpi=110)


def draw_map(
    axes: Axes, game: TabularEnvironment, values: Array, actions: npt.NDArray[np.bool_]
) -> None:
    """Draw each reachable cell's value as a colour and, where it fits, a number; and its actions.

    Starts have a frame and an S. The other cells have the map's letter; goals are green.
    """
    assert game.map is not None
    rows, columns = game.map.shape
    shown = np.where(game.reachable, values, np.nan).reshape(rows, columns)
    axes.set_facecolor("#d8d8d8")
    picture = axes.imshow(shown, cmap="viridis", alpha=0.6)
    axes.figure.colorbar(picture, ax=axes, shrink=0.8, label="V")
    # Points of text that fit into a cell; a map is 4.6 inches wide or high.
    cell = 72 * 4.6 / max(rows, columns)
    texts = [f"{value:.{1 if abs(value) >= 10 else 2}f}" for value in values]
    size = min(11.0, 0.85 * cell / max(map(len, texts)))
    fits = size > 6
    reach = (0.28, 0.47) if fits else (0.05, 0.42)  # where an arrow begins and ends
    for state, letter in enumerate(game.map.ravel()):
        row, column = divmod(state, columns)
        if state in game.starts:
            axes.add_patch(Rectangle((column - 0.46, row - 0.46), 0.92, 0.92, fill=False, lw=2))
            axes.text(column - 0.41, row - 0.42, "S", va="top", fontsize=min(12, 0.25 * cell))
        if not game.reachable[state]:
            if letter in "*G":
                axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, color=_GREEN, alpha=0.5))
            axes.text(column, row, letter, ha="center", va="center", fontsize=min(15, 0.4 * cell))
            continue
        if fits and (float(texts[state]) or not values[state]):  # else it is too small to be read
            axes.text(column, row, texts[state], ha="center", va="center", fontsize=size)
        for action in np.flatnonzero(actions[state]):
            x, y = _ARROWS[game.action_meanings[action]]
            axes.annotate(
                "",
                (column + reach[1] * x, row + reach[1] * y),
                (column + reach[0] * x, row + reach[0] * y),
                arrowprops={"arrowstyle": "->", "color": "black", "lw": 1.2},
            )
    axes.set_xticks(np.arange(-0.5, columns), labels=[])
    axes.set_yticks(np.arange(-0.5, rows), labels=[])
    axes.grid(color="white", lw=1.5)
    axes.tick_params(length=0)
