"""The page of filters: the state that excites each filter most, and the pixels that do so."""

import base64
import html
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from simple_dqn.networks.guided_backpropagation import GuidedNetwork, ReceptiveField


class FilterView(NamedTuple):
    """A filter and what excites it.

    Attributes:
        layer: number of the convolution, from 0.
        filter: number of the filter within the layer, from 0.
        activation: the highest activation of the filter, after the ReLU.
        field: the pixels that the filter sees where it has this activation.
        state: uint8 (history, height, width), the state in which the filter has it.
        projection: float32 (history, height, width), the activation's guided gradient.
    """

    layer: int
    filter: int
    activation: float
    field: ReceptiveField
    state: npt.NDArray[np.uint8]
    projection: npt.NDArray[np.float32]


def view_filters(
    network: GuidedNetwork, states: npt.NDArray[np.uint8], filters_per_layer: int | None
) -> Iterator[FilterView]:
    """Find what excites the filters, the most active filter of each layer first.

    Args:
        network: the network whose filters are viewed.
        states: uint8 (n, history, height, width), the states to choose from.
        filters_per_layer: number of filters of each layer; None: all.
    """
    for layer, strongest in enumerate(network.strongest(states)):
        projections = network.project_filters(states, layer, strongest)
        order = np.argsort(-strongest.activations, kind="stable")[:filters_per_layer]
        for index in order:
            yield FilterView(
                layer,
                int(index),
                float(strongest.activations[index]),
                network.receptive_field(
                    layer, int(strongest.rows[index]), int(strongest.columns[index])
                ),
                states[strongest.states[index]],
                projections[index],
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


def write_page(title: str, subtitle: str, views: list[FilterView]) -> str:
    """Make the page: one HTML text that holds all pictures."""
    sections = []
    for layer in sorted({view.layer for view in views}):
        figures = "\n".join(_figure(view) for view in views if view.layer == layer)
        sections.append(
            f'<section><h2>Convolution {layer + 1}</h2>\n<div class="filters">{figures}</div>'
            "</section>"
        )
    return _PAGE.format(
        title=html.escape(title), subtitle=html.escape(subtitle), sections="\n".join(sections)
    )


def _figure(view: FilterView) -> str:
    height, width = view.state.shape[1:]
    field = view.field
    box = (
        f'<i class="field" style="left:{100 * field.left / width:.3f}%;'
        f"top:{100 * field.top / height:.3f}%;"
        f"width:{100 * (field.right - field.left) / width:.3f}%;"
        f'height:{100 * (field.bottom - field.top) / height:.3f}%"></i>'
    )
    name = f"filter {view.filter}"
    pictures = "".join(
        f'<div class="frame"><div class="moved"><img src="{_data_uri(picture)}" '
        f'alt="{kind} of {name}" draggable="false">{box}</div></div>'
        for kind, picture in (
            ("guided gradient", gradient_picture(view.projection)),
            ("state", time_colours(view.state)),
        )
    )
    dead = "" if view.activation > 0 else " · never active"
    return (
        f'<figure data-zoom="1"><div class="pair">{pictures}</div>'
        f"<figcaption>{name} · activation {view.activation:.2f}{dead}</figcaption></figure>"
    )


def _data_uri(picture: npt.NDArray[np.uint8]) -> str:
    coded, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    assert coded
    return "data:image/png;base64," + base64.b64encode(data.tobytes()).decode()


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --line: #8884; --mark: #e80; }}
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 82rem;
       padding: 0 1rem; }}
h1 {{ margin: 0 0 .2rem; }}
h2 {{ border-bottom: 1px solid var(--line); padding-bottom: .2rem; }}
.how {{ max-width: 52rem; }}
.filters {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr));
           gap: 1rem; }}
figure {{ margin: 0; }}
figcaption {{ font-size: .85rem; opacity: .8; }}
.pair {{ display: grid; grid-template-columns: 1fr 1fr; gap: 2px; }}
.frame {{ overflow: hidden; aspect-ratio: 1; cursor: zoom-in; touch-action: pan-y;
         background: #777; }}
figure.large {{ grid-column: 1 / -1; }}
figure.large .frame {{ cursor: zoom-out; }}
figure:not([data-zoom="1"]) .frame {{ cursor: grab; touch-action: none; }}
.moved {{ position: relative; width: 100%; height: 100%; transform-origin: 0 0; }}
.moved img {{ width: 100%; height: 100%; display: block; image-rendering: pixelated; }}
.field {{ position: absolute; box-sizing: border-box; outline: 1px solid var(--mark); }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{subtitle}</p>
<p class="how">On the right of each pair stands the state that made the filter most active in this
game, its last three screens as red, green and blue, so that what stood still is grey; on the left,
in the same colours, which of its pixels raised (bright) or lowered (dark) that activity. The frame
is all that the filter could see. A click enlarges a pair, and over an enlarged pair the wheel
zooms; elsewhere the wheel scrolls the page, and zooms with Ctrl. On a phone two fingers zoom.
Dragging moves what is zoomed; another click goes back.</p>
{sections}
<script>
for (const figure of document.querySelectorAll("figure")) {{
  const view = {{ zoom: 1, x: 0, y: 0 }};
  const layers = figure.querySelectorAll(".moved");
  const show = () => {{
    const size = figure.querySelector(".frame").clientWidth;
    view.x = Math.min(0, Math.max(size * (1 - view.zoom), view.x));
    view.y = Math.min(0, Math.max(size * (1 - view.zoom), view.y));
    figure.dataset.zoom = view.zoom;
    for (const layer of layers)
      layer.style.transform = `translate(${{view.x}}px, ${{view.y}}px) scale(${{view.zoom}})`;
  }};
  addEventListener("resize", show);
  const zoomAbout = (frame, clientX, clientY, factor) => {{
    const box = frame.getBoundingClientRect();
    const x = clientX - box.left, y = clientY - box.top;
    const zoom = Math.min(16, Math.max(1, view.zoom * factor));
    view.x = x - (x - view.x) * zoom / view.zoom;
    view.y = y - (y - view.y) * zoom / view.zoom;
    view.zoom = zoom;
    show();
  }};
  for (const frame of figure.querySelectorAll(".frame")) {{
    const fingers = new Map();
    let moved = false;
    frame.addEventListener("wheel", event => {{
      const large = figure.classList.contains("large");
      // Nothing to zoom out of: the page scrolls.
      if (!event.ctrlKey && (!large || (view.zoom === 1 && event.deltaY > 0))) return;
      event.preventDefault();
      zoomAbout(frame, event.clientX, event.clientY, Math.exp(-event.deltaY / 300));
    }}, {{ passive: false }});
    frame.addEventListener("pointerdown", event => {{
      if (!fingers.size) moved = false;
      fingers.set(event.pointerId, [event.clientX, event.clientY]);
      frame.setPointerCapture(event.pointerId);
    }});
    frame.addEventListener("pointermove", event => {{
      const before = fingers.get(event.pointerId);
      if (!before) return;
      const now = [event.clientX, event.clientY];
      const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
      fingers.set(event.pointerId, now);
      if (other) {{
        const apart = point => Math.hypot(point[0] - other[0], point[1] - other[1]);
        const middle = [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2];
        zoomAbout(frame, ...middle, apart(now) / Math.max(1, apart(before)));
      }} else if (view.zoom > 1) {{
        view.x += now[0] - before[0];
        view.y += now[1] - before[1];
        show();
      }}
      moved ||= other !== undefined || (view.zoom > 1 && now.join() !== before.join());
    }});
    for (const end of ["pointerup", "pointercancel"])
      frame.addEventListener(end, event => fingers.delete(event.pointerId));
    frame.addEventListener("click", () => {{
      if (moved) return;
      if (view.zoom === 1) figure.classList.toggle("large");
      view.zoom = 1;
      view.x = view.y = 0;
      show();
    }});
  }}
}}
</script>
</body>
</html>
"""
