"""A real Chromium, driven over the DevTools protocol: just what the tests of the studio need."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from websockets.sync.client import connect


def chromium() -> str | None:
    """The path of a Chromium, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page:
    """One page; commands wait for their answer, errors of the page become test failures."""

    def __init__(self, address: str) -> None:
        self._socket = connect(address, max_size=None)
        self._number = 0
        self.problems: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params) -> dict:
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv(timeout=60))
            if message.get("id") == self._number:
                if "error" in message:
                    raise AssertionError(f"{method}: {message['error']}")
                return message["result"]
            self._note(message)

    def _note(self, message: dict) -> None:
        if message["method"] == "Runtime.exceptionThrown":
            details = message["params"]["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description", details["text"]))
        entry = message.get("params", {}).get("entry", {})
        if message["method"] == "Log.entryAdded" and entry["level"] == "error":
            self.problems.append(f"{entry['text']} {entry.get('url', '')}")

    def run(self, script: str):
        """The value of a JavaScript expression (awaited)."""
        result = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise AssertionError(f"{script}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait(self, condition: str, seconds: float = 30.0):
        """The value of `condition` once it is true."""
        until = time.monotonic() + seconds
        script = f"(v => v instanceof Node || v)({condition})"  # a node has no value of its own
        while not (value := self.run(script)):
            page = self.run("document.body?.innerText")
            assert time.monotonic() < until, f"not within {seconds} s: {condition}\n{page}\n{self.problems}"
            time.sleep(0.05)
        return value

    def open(self, url: str, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        is_phone = width < 600
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, mobile=is_phone,
                  deviceScaleFactor=2 if is_phone else 1)  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.send("Page.navigate", url="about:blank")
        self.send("Page.navigate", url=url)
        self.wait(f"location.href.startsWith('{url}') && document.readyState === 'complete'")

    def click(self, selector: str) -> None:
        """A real click of the mouse on the middle of an element."""
        x, y = self._middle(selector)
        self._mouse("mousePressed", x, y)
        self._mouse("mouseReleased", x, y)

    def _middle(self, selector: str) -> tuple[float, float]:
        box = self._box(selector)
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def _box(self, selector: str) -> dict:
        element = f"document.querySelector({json.dumps(selector)})"
        self.run(f"{element}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        return self.run(f"{element}.getBoundingClientRect().toJSON()")

    def _mouse(self, kind: str, x: float, y: float) -> None:
        pressed = {"button": "left", "clickCount": 1} if kind != "mouseMoved" or self._down else {}
        self._down = kind == "mousePressed" or (kind == "mouseMoved" and self._down)
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, buttons=int(self._down), **pressed)

    _down = False

    def draw(self, selector: str, strokes: list[list[tuple[float, float]]]) -> None:
        """Draw with the mouse on a canvas; points are (x, y) from 0 to 1."""
        box = self._box(selector)
        for stroke in strokes:
            points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
            self._mouse("mousePressed", *points[0])
            for point in points[1:]:
                self._mouse("mouseMoved", *point)
            self._mouse("mouseReleased", *points[-1])

    def type(self, text: str) -> None:
        self.send("Input.insertText", text=text)

    def press(self, key: str) -> None:
        code = {"Enter": 13, "Tab": 9, "ArrowRight": 39, "ArrowLeft": 37}[key]
        extra = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **extra
            )
            extra = {}

    def screenshot(self, path: str | Path, whole: bool = False) -> None:
        shot = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return self.run("document.documentElement.scrollWidth - document.documentElement.clientWidth")


@contextlib.contextmanager
def browse(microphone: str | Path | None = None):
    """A page of a new, headless Chromium; `microphone` is a WAV file that its fake microphone plays once."""
    with tempfile.TemporaryDirectory(prefix="tony-chromium-", ignore_cleanup_errors=True) as profile:
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
                 "--no-first-run", "--disable-dev-shm-usage", "--mute-audio", "--remote-debugging-port=0",
                 "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
                 f"--user-data-dir={profile}"]  # fmt: skip
        if microphone is not None:
            flags.append(f"--use-file-for-fake-audio-capture={microphone}%noloop")
        environment = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        process = subprocess.Popen(
            [chromium(), *flags, "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment,
        )  # fmt: skip
        try:
            yield Page(_address(Path(profile), process))
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _address(profile: Path, process: subprocess.Popen) -> str:
    """The DevTools address of the first page."""
    port_file = profile / "DevToolsActivePort"
    until = time.monotonic() + 60
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < until:
        assert process.poll() is None, f"Chromium ended with status {process.returncode}"
        with contextlib.suppress(OSError, IndexError, ValueError):
            port = int(port_file.read_text().split("\n")[0])
            targets = json.loads(opener.open(f"http://127.0.0.1:{port}/json/list", timeout=10).read())
            pages = [target for target in targets if target["type"] == "page"]
            if pages:
                return pages[0]["webSocketDebuggerUrl"]
        time.sleep(0.1)
    raise AssertionError("Chromium did not start within 60 s")
