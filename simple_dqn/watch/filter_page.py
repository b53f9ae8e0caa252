"""The page of filters: the states that excite each filter most, and the pixels that do so."""

import base64
import html
from collections.abc import Iterator, Sequence
from importlib import resources
from string import Template
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from simple_dqn.networks.guided_backpropagation import GuidedNetwork, ReceptiveField

_EXCITATIONS = 3  # of each filter
_STEPS_APART = 15  # a second of an Atari game


class Excitation(NamedTuple):
    """A state that excites a filter.

    Attributes:
        activation: of the filter, after the ReLU, where it is the highest in the state.
        field: the pixels that the filter sees there.
        state: uint8 (history, height, width).
        projection: float32 (history, height, width), the activation's guided gradient.
        action: the name of the action that was chosen in the state.
    """

    activation: float
    field: ReceptiveField
    state: npt.NDArray[np.uint8]
    projection: npt.NDArray[np.float32]
    action: str


class FilterView(NamedTuple):
    """A filter and what excites it.

    Attributes:
        layer: number of the convolution, from 0.
        filter: number of the filter within the layer, from 0.
        weights: float32 (history, size, size) of a filter of the first convolution; None: of
            another one, whose inputs are not pixels.
        excitations: at least one, the strongest first; the only one of a filter that never was
            active has the activation 0.
    """

    layer: int
    filter: int
    weights: npt.NDArray[np.float32] | None
    excitations: list[Excitation]


def view_filters(
    network: GuidedNetwork,
    states: npt.NDArray[np.uint8],
    actions: Sequence[str],
    filters_per_layer: int | None,
) -> Iterator[FilterView]:
    """Find what excites the filters, the most active filter of each layer first.

    Args:
        network: the network whose filters are viewed.
        states: uint8 (n, history, height, width), the states to choose from, in their order.
        actions: names of the n actions that were chosen in them.
        filters_per_layer: number of filters of each layer; None: all.
    """
    found = network.strongest(states, number=_EXCITATIONS, apart=_STEPS_APART)
    for layer, ranks in enumerate(found):
        projections = [network.project_filters(states, layer, strongest) for strongest in ranks]
        order = np.argsort(-ranks[0].activations, kind="stable")[:filters_per_layer]
        for index in order:
            yield FilterView(
                layer,
                int(index),
                network.first_weights()[index] if layer == 0 else None,
                [
                    Excitation(
                        float(strongest.activations[index]),
                        network.receptive_field(
                            layer, int(strongest.rows[index]), int(strongest.columns[index])
                        ),
                        states[strongest.states[index]],
                        projection[index],
                        actions[strongest.states[index]],
                    )
                    for strongest, projection in zip(ranks, projections, strict=True)
                    if strongest.activations[index] > 0 or strongest is ranks[0]
                ],
            )


def time_colours(screens: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The last three screens as red (oldest), green and blue; what did not move is grey.

    Args:
        screens: uint8 (history, height, width); of fewer than three screens the first is repeated.

    Returns:
        uint8 (height, width, 3), RGB.
    """
    last = screens[-3:]
    missing = np.repeat(last[:1], 3 - len(last), axis=0)
    return np.moveaxis(np.concatenate([missing, last]), 0, -1)


def gradient_picture(projection: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Show a gradient in time colours: 0 is grey, the largest values are black or full colour."""
    largest = np.abs(projection).max()
    scaled = projection / largest if largest > 0 else projection
    return time_colours((127.5 + 127.5 * scaled).round().astype(np.uint8))


def weights_pictures(weights: npt.NDArray[np.float32]) -> list[npt.NDArray[np.uint8]]:
    """Show a filter's weights, (history, size, size): 0 is grey, the largest are black or white.

    Returns:
        For each screen of a state uint8 (size, size, 3), RGB.
    """
    largest = np.abs(weights).max()
    scaled = weights / largest if largest > 0 else weights
    grey = (127.5 + 127.5 * scaled).round().astype(np.uint8)
    return [np.repeat(screen[..., None], 3, axis=2) for screen in grey]


def write_page(title: str, subtitle: str, views: list[FilterView]) -> str:
    """Fill `filter_page.html`: one HTML text that holds all pictures."""
    sections = []
    for layer in sorted({view.layer for view in views}):
        figures = "\n".join(_figure(view) for view in views if view.layer == layer)
        sections.append(
            f'<section><h2>Convolution {layer + 1}</h2>\n<div class="filters">{figures}</div>'
            "</section>"
        )
    page = (resources.files("simple_dqn.watch") / "filter_page.html").read_text("utf-8")
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
        pictures = "".join(
            f'<img src="{_data_uri(picture)}" alt="weights of {name}">'
            for picture in weights_pictures(view.weights)
        )
        weights = f'<div class="weights">{pictures}</div>'
    rows = "".join(_row(excitation, name) for excitation in view.excitations)
    return (
        f"<figure><figcaption>{name} · activation {strongest:.2f}{dead}</figcaption>"
        f"{weights}{rows}</figure>"
    )


def _row(excitation: Excitation, name: str) -> str:
    """The pictures of a state, and its field cut out of them."""
    height, width = excitation.state.shape[1:]
    field = excitation.field
    box = (
        f'<i class="field" style="left:{100 * field.left / width:.3f}%;'
        f"top:{100 * field.top / height:.3f}%;"
        f"width:{100 * (field.right - field.left) / width:.3f}%;"
        f'height:{100 * (field.bottom - field.top) / height:.3f}%"></i>'
    )
    pictures = {
        "guided gradient": gradient_picture(excitation.projection),
        "state": time_colours(excitation.state),
    }
    whole = "".join(
        f'<div class="frame"><div class="moved"><img src="{_data_uri(picture)}" '
        f'alt="{kind} of {name}" draggable="false">{box}</div></div>'
        for kind, picture in pictures.items()
    )
    cut = "".join(
        f'<img src="{_data_uri(picture[field.top : field.bottom, field.left : field.right])}" '
        f'alt="field of the {kind} of {name}">'
        for kind, picture in pictures.items()
    )
    return (
        f'<div class="pair" data-zoom="1">{whole}</div><div class="fields">{cut}</div>'
        f"<p>{excitation.activation:.2f} · {html.escape(excitation.action)}</p>"
    )


def _data_uri(picture: npt.NDArray[np.uint8]) -> str:
    coded, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    assert coded
    return "data:image/png;base64," + base64.b64encode(data.tobytes()).decode()
