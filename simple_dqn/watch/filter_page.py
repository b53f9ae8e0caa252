"""The page of filters: the states that excite each filter most, and the pixels that do so."""

import base64
import html
from collections.abc import Iterator, Sequence
from pathlib import Path
from string import Template
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from simple_dqn.networks.guided_backpropagation import GuidedNetwork, ReceptiveField
from simple_dqn.watch.film import encode_png

_EXCITATIONS = 3  # of each filter
_STEPS_APART = 15  # a second of an Atari game
_HEADS = '<p class="heads"><span>why</span><span>state</span><span>what the filter sees</span></p>'


class Excitation(NamedTuple):
    """A state that excites a filter."""

    activation: float  # after the ReLU, where it is the highest in the state
    field: ReceptiveField  # the pixels that the filter sees there
    state: npt.NDArray[np.uint8]  # (history, height, width)
    projection: npt.NDArray[np.float32]  # the activation's guided gradient, like the state
    action: str  # name of the action that was chosen in the state


class FilterView(NamedTuple):
    """A filter and what excites it."""

    layer: int  # from 0
    filter: int  # within the layer, from 0
    # (history, size, size) in the first convolution; the inputs of others are not pixels.
    weights: npt.NDArray[np.float32] | None
    excitations: list[Excitation]  # at least one, the strongest first; 0 if it was never active


def view_filters(
    network: GuidedNetwork,
    states: npt.NDArray[np.uint8],
    actions: Sequence[str],
    filters_per_layer: int | None,
) -> Iterator[FilterView]:
    """Find what excites the filters, the most active filter of each layer first.

    The states are uint8 (n, history, height, width), in their order, with the names of the n
    actions that were chosen in them. `filters_per_layer` is None for all.
    """
    for layer, ranks in enumerate(
        network.strongest(states, number=_EXCITATIONS, apart=_STEPS_APART)
    ):
        projections = [network.project_filters(states, layer, strongest) for strongest in ranks]
        order = np.argsort(-ranks[0].activations, kind="stable")[:filters_per_layer]
        for index in map(int, order):
            excitations = [
                Excitation(
                    float(found.activations[index]),
                    network.receptive_field(
                        layer, int(found.rows[index]), int(found.columns[index])
                    ),
                    states[found.states[index]],
                    projection[index],
                    actions[found.states[index]],
                )
                for found, projection in zip(ranks, projections, strict=True)
                if found.activations[index] > 0 or found is ranks[0]
            ]
            weights = network.first_weights()[index] if layer == 0 else None
            yield FilterView(layer, index, weights, excitations)


def time_colours(screens: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Show the last three of (history, height, width) as red (oldest), green and blue.

    What did not move is grey. Of fewer than three screens the first is repeated.
    """
    last = screens[-3:]
    missing = np.repeat(last[:1], 3 - len(last), axis=0)
    return np.moveaxis(np.concatenate([missing, last]), 0, -1)


def around_grey(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Show numbers as pixels: 0 is grey (128), the largest amount black or white."""
    largest = max(float(np.abs(values).max()), 1e-30)
    return (127.5 + 127.5 * (values / largest)).round().astype(np.uint8)


def write_page(title: str, subtitle: str, views: list[FilterView]) -> str:
    """Make the page: one HTML text that holds all pictures."""
    sections = []
    for layer in sorted({view.layer for view in views}):
        figures = "\n".join(_figure(view) for view in views if view.layer == layer)
        sections.append(
            f'<section><h2>Convolution {layer + 1}</h2>\n<div class="filters">{figures}</div>'
            "</section>"
        )
    page = Path(__file__).with_name("filter_page.html").read_text("utf-8")
    return Template(page).substitute(
        title=html.escape(title),
        subtitle=html.escape(subtitle),
        apart=_STEPS_APART,
        sections="\n".join(sections),
    )


def _figure(view: FilterView) -> str:
    name = f"filter {view.filter}"
    strongest = view.excitations[0].activation
    dead = "" if strongest > 0 else " · never active"
    weights = ""
    if view.weights is not None:
        colours = np.repeat(around_grey(view.weights)[..., None], 3, axis=3)  # grey in RGB
        images = [_image(picture, f"weights of {name}") for picture in colours]
        weights = f'<div class="weights">{"".join(images)}</div>'
    rows = "".join(_row(excitation, name) for excitation in view.excitations)
    return (
        f"<figure><figcaption>{name} · activation {strongest:.2f}{dead}</figcaption>"
        f"{weights}{_HEADS}{rows}</figure>"
    )


def _row(excitation: Excitation, name: str) -> str:
    """The pictures of a state, and its field cut out of them."""
    height, width = excitation.state.shape[1:]
    top, left, bottom, right = excitation.field
    box = (
        f'<i class="field" style="left:{100 * left / width:.3f}%;top:{100 * top / height:.3f}%;'
        f"width:{100 * (right - left) / width:.3f}%;"
        f'height:{100 * (bottom - top) / height:.3f}%"></i>'
    )
    frames, cuts = "", ""
    for kind, picture in (
        ("guided gradient", time_colours(around_grey(excitation.projection))),
        ("state", time_colours(excitation.state)),
    ):
        image = _image(picture, f"{kind} of {name}")
        frames += f'<div class="frame"><div class="moved">{image}{box}</div></div>'
        cuts += _image(picture[top:bottom, left:right], f"field of the {kind} of {name}")
    return (
        f'<div class="pair" data-zoom="1">{frames}</div><div class="fields">{cuts}</div>'
        f"<p>{excitation.activation:.2f} · {html.escape(excitation.action)}</p>"
    )


def _image(picture: npt.NDArray[np.uint8], text: str) -> str:
    """An image element that holds a picture, uint8 (height, width, 3), RGB, as a PNG."""
    data = base64.b64encode(encode_png(picture)).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{text}" draggable="false">'
