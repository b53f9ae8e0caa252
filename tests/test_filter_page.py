"""The page of filters, opened in a real browser where there is one."""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch

from simple_dqn.networks.guided_backpropagation import GuidedNetwork
from simple_dqn.networks.layers import ARCHITECTURES, QNetwork
from simple_dqn.watch.filter_page import gradient_picture, time_colours, view_filters, write_page

Picture = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def network() -> GuidedNetwork:
    network = QNetwork(ARCHITECTURES["nips"], 3, 4, (84, 84))
    network.init_weights(0)
    with torch.no_grad():
        network[0].bias[5] = -100  # type: ignore[index, operator, union-attr]
    return GuidedNetwork(network, lambda outputs: outputs)


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


class Browser:
    """Headless Chromium, spoken to through a pair of pipes (Chrome DevTools Protocol)."""

    def __init__(self, folder: Path) -> None:
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()

        def place_pipes() -> None:  # the browser reads descriptor 3 and writes descriptor 4
            spare = [os.dup(commands), os.dup(answers)]
            os.dup2(spare[0], 3)
            os.dup2(spare[1], 4)

        self._process = subprocess.Popen(
            [
                str(shutil.which("chromium")),
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--remote-debugging-pipe",
                f"--user-data-dir={folder}",
                "--window-size=1000,800",
            ],
            close_fds=False,
            preexec_fn=place_pipes,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self._buffer = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def wait_for(self, event: str) -> None:
        while not any(message.get("method") == event for message in self.events):
            self.events.append(self._read())

    def value(self, expression: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._commands)
        os.close(self._answers)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            data = os.read(self._answers, 1 << 20)
            assert data, "the browser ended"
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\0", 1)
        message: dict[str, Any] = json.loads(line)
        return message


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    if shutil.which("chromium") is None:
        pytest.skip("needs Chromium")
    browser = Browser(tmp_path / "profile")
    yield browser
    browser.close()


def test_the_page_in_a_browser(
    browser: Browser, network: GuidedNetwork, states: Picture, tmp_path: Path
) -> None:
    """The wheel zooms both pictures about the mouse, dragging moves them; nothing complains."""
    page = tmp_path / "page.html"
    page.write_text(write_page("title", "subtitle", list(view_filters(network, states, None))))
    for domain in ("Page", "Runtime", "Log"):
        browser.call(f"{domain}.enable")
    browser.call("Page.navigate", url=page.as_uri())
    browser.wait_for("Page.loadEventFired")
    assert browser.value("document.images.length") == 2 * 48
    assert browser.value("[...document.images].every(image => image.naturalWidth === 84)")
    box = browser.value(
        "(() => { const b = document.querySelector('.frame').getBoundingClientRect();"
        "return [b.left, b.top, b.width, b.height]; })()"
    )
    left, top, width, height = box
    assert width == pytest.approx(height, rel=0.05)

    def mouse(kind: str, x: float, y: float, **more: Any) -> None:
        browser.call(
            "Input.dispatchMouseEvent", type=kind, x=left + x * width, y=top + y * height, **more
        )

    def transforms() -> list[str]:
        found: list[str] = browser.value(
            "[...document.querySelectorAll('.moved')].slice(0, 4).map(m => m.style.transform)"
        )
        return found

    def under_mouse() -> Any:
        """Which place of the picture is at a quarter of the frame."""
        return browser.value(
            "(() => { const f = document.querySelector('.frame').getBoundingClientRect(),"
            "m = document.querySelector('.moved').getBoundingClientRect();"
            "return (f.left + f.width / 4 - m.left) / m.width; })()"
        )

    scroll = browser.value("scrollY")
    mouse("mouseWheel", 0.25, 0.25, deltaX=0, deltaY=-300)
    zoomed = transforms()
    assert "scale(2.7" in zoomed[0]
    assert zoomed[0] == zoomed[1]  # both pictures of the filter
    assert zoomed[2] == zoomed[3] == ""  # of no other
    assert under_mouse() == pytest.approx(0.25, abs=0.01)
    assert browser.value("scrollY") == scroll
    mouse("mousePressed", 0.5, 0.5, button="left", buttons=1, clickCount=1)
    mouse("mouseMoved", 0.3, 0.4, button="left", buttons=1)
    mouse("mouseReleased", 0.3, 0.4, button="left", clickCount=1)
    moved = transforms()
    assert moved[0] == moved[1] != zoomed[0]
    assert "scale(2.7" in moved[0]
    mouse("mouseWheel", 0.25, 0.25, deltaX=0, deltaY=3000)
    assert "scale(1)" in transforms()[0]
    complaints = [
        event
        for event in browser.events
        if event.get("method") in {"Runtime.exceptionThrown", "Runtime.consoleAPICalled"}
        or (event.get("method") == "Log.entryAdded" and event["params"]["entry"]["level"] != "info")
    ]
    assert complaints == []
