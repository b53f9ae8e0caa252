"""The page of filters: the states that excite each filter most, and the pixels that do so."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path
from string import Template

import numpy as np
import numpy.typing as npt

from simple_dqn.networks.guided_backpropagation import GuidedNetwork, ReceptiveField
from simple_dqn.watch.film import encode_png

_EXCITATIONS = 3  # of each filter
_STEPS_APART = 15  # a second of an Atari game
_HEADS = '<p class="heads"><span>why</span><span>state</span><span>what the filter sees</span></p>'


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


def write_page(
    title: str,
    subtitle: str,
    network: GuidedNetwork,
    states: npt.NDArray[np.uint8],
    actions: Sequence[str],
    filters_per_layer: int | None,
) -> str:
    """Make the page: one HTML text that holds all pictures, each layer's most active filter first.

    The states are uint8 (n, history, height, width), in their order, with the names of the n
    actions that were chosen in them. `filters_per_layer` is None for all.
    """
    sections = ""
    for layer, ranks in enumerate(
        network.strongest(states, number=_EXCITATIONS, apart=_STEPS_APART)
    ):
        projections = [network.project_filters(states, layer, strongest) for strongest in ranks]
        order = np.argsort(-ranks[0].activations, kind="stable")[:filters_per_layer]
        figures = []
        for index in map(int, order):
            name = f"filter {index}"
            rows = ""
            for found, projection in zip(ranks, projections, strict=True):
                activation, time = found.activations[index], found.states[index]
                if activation > 0 or found is ranks[0]:
                    place = int(found.rows[index]), int(found.columns[index])
                    field = network.receptive_field(layer, *place)
                    rows += _pictures(name, field, states[time], projection[index])
                    rows += f"<p>{activation:.2f} · {html.escape(actions[time])}</p>"
            # Inputs of other layers are not pixels.
            weights = _weights(name, network.first_weights()[index]) if layer == 0 else ""
            strongest = ranks[0].activations[index]
            dead = "" if strongest > 0 else " · never active"
            figures.append(
                f"<figure><figcaption>{name} · activation {strongest:.2f}{dead}</figcaption>"
                f"{weights}{_HEADS}{rows}</figure>"
            )
        sections += (
            f'<section><h2>Convolution {layer + 1}</h2>\n<div class="filters">'
            + "\n".join(figures)
            + "</div></section>\n"
        )
    page = Path(__file__).with_name("filter_page.html").read_text("utf-8")
    return Template(page).substitute(
        title=html.escape(title),
        subtitle=html.escape(subtitle),
        apart=_STEPS_APART,
        sections=sections,
    )


def _weights(name: str, weights: npt.NDArray[np.float32]) -> str:
    """The pictures of a filter's weights, (history, size, size)."""
    colours = np.repeat(around_grey(weights)[..., None], 3, axis=3)  # grey in RGB
    images = [_image(picture, f"weights of {name}") for picture in colours]
    return f'<div class="weights">{"".join(images)}</div>'


def _pictures(
    name: str,
    field: ReceptiveField,
    state: npt.NDArray[np.uint8],
    projection: npt.NDArray[np.float32],
) -> str:
    """The pictures of a state and of a guided gradient like it, and the field cut out of them."""
    height, width = state.shape[1:]
    top, left, bottom, right = field
    box = (
        f'<i class="field" style="left:{100 * left / width:.3f}%;top:{100 * top / height:.3f}%;'
        f"width:{100 * (right - left) / width:.3f}%;"
        f'height:{100 * (bottom - top) / height:.3f}%"></i>'
    )
    frames, cuts = "", ""
    for kind, picture in (
        ("guided gradient", time_colours(around_grey(projection))),
        ("state", time_colours(state)),
    ):
        image = _image(picture, f"{kind} of {name}")
        frames += f'<div class="frame"><div class="moved">{image}{box}</div></div>'
        cuts += _image(picture[top:bottom, left:right], f"field of the {kind} of {name}")
    return f'<div class="pair" data-zoom="1">{frames}</div><div class="fields">{cuts}</div>'


def _image(picture: npt.NDArray[np.uint8], text: str) -> str:
    """An image element that holds a picture, uint8 (height, width, 3), RGB, as a PNG."""
    data = base64.b64encode(encode_png(picture)).decode()
    return f'<img src="data:image/png;base64,{data}" alt="{text}" draggable="false">'
