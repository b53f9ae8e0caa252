"""The page of filters, opened in a real browser where there is one."""

import base64
import math
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import playwright.sync_api as playwright
import pytest
import torch
from helpers import make_settings

from simple_dqn.networks.guided_backpropagation import GuidedNetwork
from simple_dqn.networks.heads import Values
from simple_dqn.run import parts
from simple_dqn.watch.filter_page import gradient_picture, time_colours, view_filters, write_page

Picture = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def network() -> GuidedNetwork:
    network = parts.make_layers(make_settings(network="nips"), 3, (84, 84))
    network.init_weights(0)
    with torch.no_grad():
        network[0].bias[5] = -100  # type: ignore[index, operator, union-attr]
    return GuidedNetwork(network, Values(math.inf))


@pytest.fixture(scope="module")
def states() -> Picture:
    return np.random.default_rng(0).integers(256, size=(20, 4, 84, 84), dtype=np.uint8)


class Images(HTMLParser):
    """The pictures of a page by their alternative texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.pictures: dict[str, list[Picture]] = {}
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.addresses += [value for key in ("src", "href") if (value := values.get(key))]
        if tag == "img":
            data = base64.b64decode(str(values["src"]).removeprefix("data:image/png;base64,"))
            picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            rgb = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
            self.pictures.setdefault(str(values["alt"]), []).append(rgb)


def test_the_page_holds_every_filters_pictures(network: GuidedNetwork, states: Picture) -> None:
    views = list(view_filters(network, states, None))
    assert len(views) == 16 + 32
    for layer in (0, 1):
        activations = [view.activation for view in views if view.layer == layer]
        assert activations == sorted(activations, reverse=True)
    images = Images(write_page("A <title>", "subtitle", views))
    assert all(address.startswith("data:") for address in images.addresses)  # one file
    layers = {0: 0, 1: 1}
    for view in views:
        which = layers[view.layer] if view.filter < 16 else 0
        state = images.pictures[f"state of filter {view.filter}"][which]
        np.testing.assert_array_equal(state, np.moveaxis(view.state[1:], 0, -1))
        gradient = images.pictures[f"guided gradient of filter {view.filter}"][which]
        np.testing.assert_array_equal(gradient, gradient_picture(view.projection))
        top, left, bottom, right = view.field
        outside = np.ones((84, 84), np.bool_)
        outside[top:bottom, left:right] = False
        assert (gradient[outside] == 128).all()
    page = write_page("A <title>", "subtitle", views)
    assert "A &lt;title&gt;" in page
    assert page.count("never active") == 1


def test_so_many_filters_of_each_layer(network: GuidedNetwork, states: Picture) -> None:
    """The most active ones."""
    few = list(view_filters(network, states, 3))
    every = list(view_filters(network, states, None))
    assert [(view.layer, view.filter) for view in few] == [
        (view.layer, view.filter) for view in (*every[:3], *every[16:19])
    ]


def test_time_is_colour() -> None:
    screens = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((2, 2), np.uint8)
    assert (time_colours(screens) == (1, 2, 3)).all()
    assert (time_colours(screens[:2]) == (0, 0, 1)).all()
    assert (time_colours(screens[2:3]) == 2).all()
    gradient = np.array([-2, 0, 1], np.float32)[:, None, None] * np.ones((2, 2), np.float32)
    assert (gradient_picture(gradient) == (0, 128, 191)).all()
    assert (gradient_picture(0 * gradient) == 128).all()


@pytest.fixture
def browser_page() -> Iterator[playwright.Page]:
    """An empty page in a headless Chromium."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs Chromium")
    with playwright.sync_playwright() as library:
        browser = library.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": 1000, "height": 800})
        browser.close()


def test_the_page_in_a_browser(
    browser_page: playwright.Page, network: GuidedNetwork, states: Picture, tmp_path: Path
) -> None:
    """A click enlarges a pair; the wheel zooms both pictures about the mouse, dragging moves them.

    Another click goes back. Elsewhere the wheel scrolls the page. Nothing complains.
    """
    complaints: list[object] = []
    for event in ("console", "pageerror", "requestfailed"):
        browser_page.on(event, lambda complaint: complaints.append(complaint))
    page = tmp_path / "page.html"
    page.write_text(write_page("title", "subtitle", list(view_filters(network, states, None))))
    browser_page.goto(page.as_uri())
    assert browser_page.locator("img").count() == 2 * 48
    assert browser_page.evaluate("[...document.images].every(image => image.naturalWidth === 84)")
    frame = browser_page.locator(".frame").first
    small = frame.bounding_box()
    assert small is not None
    assert small["width"] == pytest.approx(small["height"], rel=0.05)
    frame.hover()
    browser_page.mouse.wheel(0, 100)
    browser_page.wait_for_function("scrollY === 100")
    assert browser_page.evaluate("document.querySelector('figure').dataset.zoom") == "1"
    browser_page.mouse.wheel(0, -100)
    browser_page.wait_for_function("scrollY === 0")
    frame.click()
    box = frame.bounding_box()
    assert box is not None
    assert box["width"] > 1.5 * small["width"]

    def place(x: float, y: float) -> tuple[float, float]:
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    def transforms() -> list[str]:
        found: list[str] = browser_page.evaluate(
            "[...document.querySelectorAll('.moved')].slice(0, 4).map(m => m.style.transform)"
        )
        return found

    mouse = browser_page.mouse
    scroll = browser_page.evaluate("scrollY")
    mouse.move(*place(0.25, 0.25))
    mouse.wheel(0, -300)
    zoomed = transforms()
    assert "scale(2.7" in zoomed[0]
    assert zoomed[0] == zoomed[1]  # both pictures of the filter
    assert zoomed[2] == zoomed[3] == ""  # of no other
    moved_box = browser_page.locator(".moved").first.bounding_box()
    assert moved_box is not None
    under_mouse = (place(0.25, 0)[0] - moved_box["x"]) / moved_box["width"]
    assert under_mouse == pytest.approx(0.25, abs=0.01)  # the same place of the picture
    assert browser_page.evaluate("scrollY") == scroll
    mouse.move(*place(0.5, 0.5))
    mouse.down()
    mouse.move(*place(0.3, 0.4))
    mouse.up()
    dragged = transforms()
    assert dragged[0] == dragged[1] != zoomed[0]
    assert "scale(2.7" in dragged[0]
    mouse.move(*place(0.4, 0.3))
    assert transforms() == dragged  # the button is up
    mouse.wheel(0, 3000)
    assert "scale(1)" in transforms()[0]
    mouse.wheel(0, -300)
    assert "scale(2.7" in transforms()[0]
    mouse.click(*place(0.5, 0.5))
    assert transforms()[:2] == ["translate(0px, 0px) scale(1)"] * 2
    mouse.wheel(0, 100)  # nothing to zoom out of
    browser_page.wait_for_function("scrollY === 100")
    frame.click()
    assert frame.evaluate("frame => frame.clientWidth") == pytest.approx(small["width"], abs=1)
    browser_page.keyboard.down("Control")
    frame.hover()
    mouse.wheel(0, -300)
    assert "scale(2.7" in transforms()[0]
    browser_page.keyboard.up("Control")
    browser_page.set_viewport_size({"width": 400, "height": 800})  # the picture stays in its frame
    edges = "e => [e.getBoundingClientRect().right, e.getBoundingClientRect().bottom]"
    outer = frame.evaluate(edges)
    inner = browser_page.locator(".moved").first.evaluate(edges)
    assert all(a >= b - 1 for a, b in zip(inner, outer, strict=True))
    assert complaints == []


def test_the_page_under_fingers(
    browser_page: playwright.Page, network: GuidedNetwork, states: Picture, tmp_path: Path
) -> None:
    """One finger scrolls the page, two zoom a picture, and then one moves it."""
    page = tmp_path / "page.html"
    page.write_text(write_page("title", "subtitle", list(view_filters(network, states, 2))))
    browser_page.set_viewport_size({"width": 400, "height": 700})
    browser_page.goto(page.as_uri())
    frame = browser_page.locator(".frame").first
    frame.scroll_into_view_if_needed()
    box = frame.bounding_box()
    assert box is not None
    devices = browser_page.context.new_cdp_session(browser_page)
    devices.send("Emulation.setTouchEmulationEnabled", {"enabled": True, "maxTouchPoints": 2})

    def touch(kind: str, *places: tuple[float, float]) -> None:
        points = [
            {"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"], "id": finger}
            for finger, (x, y) in enumerate(places)
        ]
        devices.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def style(name: str) -> str:
        value: str = frame.evaluate(f"frame => getComputedStyle(frame).{name}")
        return value

    assert style("touchAction") == "pan-y"
    touch("touchStart", (0.4, 0.5), (0.6, 0.5))
    touch("touchMove", (0.3, 0.5), (0.7, 0.5))
    touch("touchMove", (0.2, 0.5), (0.8, 0.5))
    touch("touchEnd")
    zoom = float(browser_page.evaluate("document.querySelector('figure').dataset.zoom"))
    assert zoom == pytest.approx(3, rel=0.05)
    assert style("touchAction") == "none"
