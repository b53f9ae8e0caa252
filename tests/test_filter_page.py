"""The page of filters, opened in a real browser where there is one."""

import base64
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
from simple_dqn.watch.filter_page import around_grey, time_colours, write_page

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


def write(network: GuidedNetwork, states: Picture, number: int | None = None) -> str:
    """A page; in state 7 the action `action 7` was chosen, for example."""
    actions = [f"action {time}" for time in range(20)]
    return write_page("A <title>", "subtitle", network, states, actions, number)


def figures(page: str) -> list[tuple[int, int, str]]:
    """Layer, filter and HTML of each figure of a page."""
    pattern = re.compile(r"<figure><figcaption>filter (\d+)(.*?)</figure>", re.DOTALL)
    return [
        (layer, int(number), text)
        for layer, section in enumerate(page.split("<section>")[1:])
        for number, text in pattern.findall(section)
    ]


def images(page: str) -> dict[str, list[Picture]]:
    """The pictures of a page by their alternative texts, RGB; all are within the page."""
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    found: dict[str, list[Picture]] = {}
    for data, text in re.findall(r'<img src="data:image/png;base64,([^"]+)" alt="([^"]+)"', page):
        coded = np.frombuffer(base64.b64decode(data), np.uint8)
        picture = cv2.cvtColor(cv2.imdecode(coded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        found.setdefault(text, []).append(picture)
    return found


KINDS = ("state", "guided gradient")


def test_the_page_holds_every_filters_pictures(network: GuidedNetwork, states: Picture) -> None:
    """At most three states a filter, at least 15 steps apart, as far as the 20 states reach."""
    page = write(network, states)
    assert "A &lt;title&gt;" in page
    assert page.count("never active") == 1
    found = figures(page)
    assert len(found) == 16 + 32
    few = [figure[:2] for figure in figures(write(network, states, 3))]
    assert few == [figure[:2] for figure in (*found[:3], *found[16:19])]
    ranks = network.strongest(states, number=3, apart=15)
    gradients = [
        [network.project_filters(states, layer, strongest) for strongest in of_layer]
        for layer, of_layer in enumerate(ranks)
    ]
    number_of_times = set()
    for layer, index, text in found:
        pictures, times = images(text), []
        captions = re.findall(r"<p>([\d.]+) · action (\d+)</p>", text)
        for rank, (activation, time) in enumerate(captions):
            strongest = ranks[layer][rank]
            assert float(activation) == pytest.approx(strongest.activations[index], abs=0.006)
            shown = [pictures[f"{kind} of filter {index}"][rank] for kind in KINDS]
            np.testing.assert_array_equal(shown[0], np.moveaxis(states[int(time)][1:], 0, -1))
            gradient = time_colours(around_grey(gradients[layer][rank][index]))
            np.testing.assert_array_equal(shown[1], gradient)
            place = int(strongest.rows[index]), int(strongest.columns[index])
            top, left, bottom, right = network.receptive_field(layer, *place)
            outside = np.ones((84, 84), np.bool_)
            outside[top:bottom, left:right] = False
            assert (shown[1][outside] == 128).all()
            for kind, picture in zip(KINDS, shown, strict=True):
                cut = pictures[f"field of the {kind} of filter {index}"][rank]
                np.testing.assert_array_equal(cut, picture[top:bottom, left:right])
            times.append(int(time))
        number_of_times.add(len(times))
        assert all(abs(a - b) >= 15 for i, a in enumerate(times) for b in times[:i])
    assert {1, 2} <= number_of_times <= {1, 2, 3}
    for layer, (strongest, *_) in enumerate(ranks):
        order = [index for each, index, _ in found if each == layer]
        assert (np.diff(strongest.activations[order]) <= 0).all()


def test_the_weights_of_the_first_layer_are_shown(network: GuidedNetwork, states: Picture) -> None:
    """For each of the four screens of a state; other layers do not see pixels."""
    found = figures(write(network, states))
    assert ["weights of" in text for _, _, text in found] == [True] * 16 + [False] * 32
    _, index, text = found[0]
    pictures = images(text)[f"weights of filter {index}"]
    assert [picture.shape for picture in pictures] == [(8, 8, 3)] * 4
    weights = np.stack(pictures)[..., 0] / 127.5 - 1
    first = network.first_weights()[index]
    np.testing.assert_allclose(weights, first / np.abs(first).max(), atol=0.005)


def test_time_is_colour() -> None:
    screens = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((2, 2), np.uint8)
    assert (time_colours(screens) == (1, 2, 3)).all()
    assert (time_colours(screens[:2]) == (0, 0, 1)).all()
    assert (time_colours(screens[2:3]) == 2).all()
    assert around_grey(np.array([-2, 0, 1], np.float32)).tolist() == [0, 128, 191]
    assert around_grey(np.zeros(2, np.float32)).tolist() == [128, 128]


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    """A headless Chromium."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs Chromium")
    with playwright.sync_playwright() as library:
        browser = library.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


def test_the_page_in_a_browser(
    browser: playwright.Browser, network: GuidedNetwork, states: Picture, tmp_path: Path
) -> None:
    """A click enlarges a pair; the wheel zooms both pictures about the mouse, dragging moves them.

    Another click goes back. Elsewhere the wheel scrolls the page. Nothing is logged.
    """
    browser_page, logged = browser.new_page(viewport={"width": 1600, "height": 1000}), list[Any]()
    for event in ("console", "pageerror", "requestfailed"):
        browser_page.on(event, lambda message: logged.append(message))
    page = tmp_path / "page.html"
    page.write_text(write(network, states))
    browser_page.goto(page.as_uri())
    assert browser_page.locator("figure").count() == 48
    frame = browser_page.locator(".frame").first
    small = frame.bounding_box()
    assert small is not None
    assert small["width"] == pytest.approx(small["height"], rel=0.05)
    frame.click()
    box = frame.bounding_box()
    assert box is not None
    assert box["width"] > 1.5 * small["width"]
    large = browser_page.locator("figure.large")
    assert large.evaluate("f => f.scrollHeight <= innerHeight && f.scrollWidth <= innerWidth")
    assert "what the filter sees" in large.inner_text()

    def place(x: float, y: float) -> tuple[float, float]:
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    def transforms() -> Any:
        return browser_page.evaluate(
            "[...document.querySelectorAll('.moved')].slice(0, 4).map(m => m.style.transform)"
        )

    mouse = browser_page.mouse
    scroll = browser_page.evaluate("scrollY")
    mouse.move(*place(0.25, 0.25))
    mouse.wheel(0, -300)
    zoomed = transforms()
    assert "scale(2.7" in zoomed[0]
    assert zoomed[0] == zoomed[1]  # both pictures of the state
    assert zoomed[2] == zoomed[3] == "translate(0px, 0px) scale(1)"  # of no other
    moved = browser_page.locator(".moved").first.bounding_box()
    assert moved is not None
    under_mouse = (place(0.25, 0)[0] - moved["x"]) / moved["width"]
    assert under_mouse == pytest.approx(0.25, abs=0.01)  # the same place of the picture
    assert browser_page.evaluate("scrollY") == scroll
    mouse.move(*place(0.5, 0.5))
    mouse.down()
    mouse.move(*place(0.3, 0.4))
    mouse.up()
    dragged = transforms()
    assert dragged[0] == dragged[1] != zoomed[0]
    assert "scale(2.7" in dragged[0]
    mouse.click(*place(0.5, 0.5))
    assert transforms()[:2] == ["translate(0px, 0px) scale(1)"] * 2
    mouse.wheel(0, 100)  # nothing to zoom out of
    browser_page.wait_for_function("scrollY === 100")
    frame.click()
    assert frame.evaluate("frame => frame.clientWidth") == pytest.approx(small["width"], abs=1)
    assert logged == []


def test_the_page_under_fingers(
    browser: playwright.Browser, network: GuidedNetwork, states: Picture, tmp_path: Path
) -> None:
    """Two fingers zoom a picture; only then the page leaves dragging to the picture."""
    page = tmp_path / "page.html"
    page.write_text(write(network, states, 2))
    browser_page = browser.new_page(viewport={"width": 400, "height": 700})
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

    style = "frame => getComputedStyle(frame).touchAction"
    assert frame.evaluate(style) == "pan-y"
    touch("touchStart", (0.4, 0.5), (0.6, 0.5))
    touch("touchMove", (0.2, 0.5), (0.8, 0.5))
    touch("touchEnd")
    zoom = float(browser_page.evaluate("document.querySelector('.pair').dataset.zoom"))
    assert zoom == pytest.approx(3, rel=0.05)
    assert frame.evaluate(style) == "none"
