"""A headless Chromium, driven through the pipe of its DevTools protocol; Python is enough.

Run as a script, it opens a page and says how long the browser takes for it:

    python -m tests.inspect.browse PAGE.html
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

_KEYS = {
    "ArrowDown": 40,
    "ArrowUp": 38,
    "End": 35,
    "Enter": 13,
    "Escape": 27,
    "Home": 36,
    "PageDown": 34,
    "Tab": 9,
}


class Browser:
    """One tab, whose requests, errors and messages are kept.

    Attributes:
        requests: the address of everything that a page asked for.
        errors: exceptions of scripts, and what the browser itself complains of.
    """

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.errors: list[str] = []
        self._count = 0
        self._pending = b""
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)

    def __enter__(self) -> Self:
        assert CHROMIUM is not None
        commands, self._out = os.pipe()
        self._in, answers = os.pipe()
        # The protocol stands on descriptors 3 and 4 of the browser.
        moved = f'exec {CHROMIUM!r} "$@" 3<&{commands} 4>&{answers}'
        options = (
            "--headless=new",
            "--no-sandbox",  # Containers have no user namespaces, and the pages are our own.
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--remote-debugging-pipe",
            "--window-size=1400,900",
            f"--user-data-dir={self._folder.name}",
        )
        self._process = subprocess.Popen(
            ["bash", "-c", moved, "chromium", *options, "about:blank"],
            pass_fds=(commands, answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self._session: str | None = None
        pages = self.call("Target.getTargets")["targetInfos"]
        tab = next((each["targetId"] for each in pages if each["type"] == "page"), None)
        tab = tab or self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=tab, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait(30)
        os.close(self._out)
        os.close(self._in)
        self._folder.cleanup()

    def call(self, method: str, **parameters: Any) -> Any:
        """Send one command and wait for its answer; events before it are noted."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            told = self._receive()
            if told.get("id") == self._count:
                assert "error" not in told, told["error"]
                return told["result"]

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._pending:
            part = os.read(self._in, 1 << 16)
            assert part, "the browser has ended"
            self._pending += part
        first, _, self._pending = self._pending.partition(b"\0")
        told: dict[str, Any] = json.loads(first)
        match told.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(told["params"]["request"]["url"])
            case "Runtime.exceptionThrown":
                self.errors.append(str(told["params"]["exceptionDetails"]))
            case "Log.entryAdded":
                self.errors.append(str(told["params"]["entry"]))
        return told

    def open(self, page: Path) -> None:
        """Open a file, and wait until its scripts have run and it was drawn."""
        self.call("Page.navigate", url=page.resolve().as_uri())
        while self.run("document.readyState + location.protocol") != "completefile:":
            pass
        self.drawn()

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def drawn(self) -> None:
        """Wait until two frames were drawn."""
        self.run("new Promise(f => requestAnimationFrame(() => requestAnimationFrame(f)))")

    def press(self, *keys: str) -> None:
        """Press keys one after the other, as a user would."""
        for key in keys:
            told = {"key": key, "windowsVirtualKeyCode": _KEYS.get(key, ord(key[0].upper()))}
            text = {"text": "\r" if key == "Enter" else key}
            text = text if key == "Enter" or key not in _KEYS else {}
            self.call("Input.dispatchKeyEvent", type="keyDown", **told, **text)
            self.call("Input.dispatchKeyEvent", type="keyUp", **told)
        self.drawn()

    def click(self, selector: str) -> None:
        """Click with the mouse into the middle of what a selector finds."""
        place = self.run(
            f"(() => {{ const r = document.querySelector({json.dumps(selector)})"
            ".getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call(
                "Input.dispatchMouseEvent",
                type=kind,
                x=place[0],
                y=place[1],
                button="left",
                clickCount=1,
            )
        self.drawn()

    def scheme(self, name: str) -> None:
        """Prefer `"light"` or `"dark"`."""
        feature = {"name": "prefers-color-scheme", "value": name}
        self.call("Emulation.setEmulatedMedia", features=[feature])
        self.drawn()

    def screenshot(self, path: Path) -> None:
        """Write what is seen as a PNG file."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


def _measure(page: Path) -> None:
    with Browser() as browser:
        browser.open(page)
        loaded = browser.run(
            "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
        )
        print(f"loaded after {loaded:.0f} ms")
        for what, script in {
            "search": "search.value = '12'; filter()",
            "all again": "search.value = ''; filter()",
            "sort by std": "document.querySelectorAll('#head button')[6].click()",
            "scroll to the end": "go(shown.length - 1)",
            "open a tensor": "open(shown[active])",
        }.items():
            took = browser.run(
                f"(() => {{ const t = performance.now(); {script}; document.body.offsetHeight; "
                "return performance.now() - t; })()"
            )
            print(f"{what}: {took:.1f} ms")


if __name__ == "__main__":
    _measure(Path(sys.argv[1]))
