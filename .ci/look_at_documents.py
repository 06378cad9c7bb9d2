"""Look at the built documentation in a browser, as readers do.

``python .ci/look_at_documents.py`` opens every page of doc/_build/html in headless
Chromium at three widths and reports errors of the console, images that are missing,
formulas that show commands, and what overflows its column. ``--pictures FOLDER`` keeps
what the browser showed; names of pages choose some. Where no Chromium is found, it
says so and does nothing.
"""

import argparse
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

BUILT = Path(__file__).resolve().parent.parent / "doc" / "_build" / "html"
WIDTHS = (1400, 1000, 400)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
HIGHEST = 16_000  # of a picture, in pixels
# Runs in the page. Returns sentences, one for each fault.
CHECK = r"""
(() => {
  const found = [], page = document.documentElement;
  const name = e => {
    const text = (e.textContent || e.alt || '').trim().replace(/\s+/g, ' ');
    return [e.localName, ...e.classList].join('.') + ' "' + text.slice(0, 60) + '"';
  };
  for (const e of document.images)
    if (e.complete && !e.naturalWidth) found.push('missing image ' + e.src);
  for (const e of document.querySelectorAll('math, .math'))
    if (/[\\$]/.test(e.textContent) || e.querySelector('merror'))
      found.push('formula with commands ' + name(e));
  if (page.scrollWidth > page.clientWidth)
    found.push('the page is ' + page.scrollWidth + ' pixels wide');
  const article = document.querySelector('article');
  const scrolls = e => /auto|scroll/.test(getComputedStyle(e).overflowX);
  if (article) {
    const right = article.getBoundingClientRect().right, beyond = new Set();
    for (const e of article.querySelectorAll('*')) {
      const box = e.getBoundingClientRect();
      const shown = box.width && box.height;
      if (!shown || getComputedStyle(e).position === 'absolute') continue;
      let inside = false;
      for (let up = e.parentElement; up && up !== article; up = up.parentElement)
        inside ||= scrolls(up);
      if (inside || box.right <= right + 1) continue;
      beyond.add(e);
      // Its parts are beyond it, too.
      if (!beyond.has(e.parentElement)) found.push('beyond its column ' + name(e));
    }
    for (const e of article.querySelectorAll('.math-block'))
      if (e.scrollHeight > e.clientHeight + 1)
        found.push('vertical scrollbar ' + name(e));
    for (const e of article.querySelectorAll('dt > strong')) {
      const line = 2 * parseFloat(getComputedStyle(e).fontSize);
      const alone = !e.textContent.includes(',');
      if (alone && e.getBoundingClientRect().height > line)
        found.push('broken name ' + name(e));
    }
    if (page.clientWidth >= 1200)
      for (const e of article.querySelectorAll('.pst-scrollable-table-container, pre'))
        if (e.scrollWidth > e.clientWidth + 1) found.push('cut ' + name(e));
  }
  return found;
})()
"""


class Browser:
    """Headless Chromium, spoken to in JSON through two pipes."""

    def __init__(self, program: str) -> None:
        self.folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        theirs_in, self.out = os.pipe()
        self.source, theirs_out = os.pipe()
        # The browser reads from 3 and writes to 4, whatever these numbers are here.
        script = f'exec "$0" "$@" 3<&{theirs_in} 4>&{theirs_out}'
        profile = f"--user-data-dir={self.folder.name}"
        self.process = subprocess.Popen(
            ["bash", "-c", script, program, *OPTIONS, profile, "about:blank"],
            pass_fds=(theirs_in, theirs_out),
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self.rest, self.number, self.events = b"", 0, []
        self.session = ""
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(t["targetId"] for t in targets if t["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=page, flatten=True)
        self.session = attached["sessionId"]
        for part in ("Page", "Log", "Runtime"):
            self.call(f"{part}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command, and return what it answers."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while (answer := self.read()).get("id") != self.number:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def read(self) -> dict[str, Any]:
        """Wait for the next message."""
        while b"\0" not in self.rest:
            piece = os.read(self.source, 1 << 20)
            if not piece:
                raise RuntimeError("the browser has ended")
            self.rest += piece
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def open(self, path: Path, width: int) -> None:
        """Show a file, and wait until it is loaded."""
        self.resize(width, 900)
        self.events.clear()
        failure = self.call("Page.navigate", url=path.as_uri()).get("errorText")
        if failure:
            raise FileNotFoundError(f"{path}: {failure}")
        while all(e.get("method") != "Page.loadEventFired" for e in self.events):
            self.events.append(self.read())
        self.evaluate("document.fonts.ready.then(() => true)")

    def resize(self, width: int, height: int) -> None:
        """Give the page a size."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def evaluate(self, script: str) -> Any:
        """Run a script in the page, and return its value."""
        found = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        return found["result"].get("value")

    def complaints(self) -> Iterator[str]:
        """Errors and warnings that the page has caused so far."""
        for event in self.events:
            params = event.get("params", {})
            if event.get("method") == "Runtime.exceptionThrown":
                yield f"script: {params['exceptionDetails']['text']}"
            if event.get("method") == "Log.entryAdded":
                entry = params["entry"]
                if entry["level"] in ("error", "warning"):
                    yield f"console: {entry['text']} {entry.get('url', '')}"

    def picture(self, width: int) -> bytes:
        """The whole page as a PNG."""
        height = self.evaluate("document.documentElement.scrollHeight")
        self.resize(width, min(height, HIGHEST))
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])

    def close(self) -> None:
        """End the browser and remove what it has stored."""
        self.session = ""
        self.call("Browser.close")
        self.process.wait(timeout=30)
        os.close(self.out)
        os.close(self.source)
        self.folder.cleanup()


def faults(
    folder: Path,
    names: Sequence[str] = (),
    widths: Sequence[int] = WIDTHS,
    pictures: Path | None = None,
) -> list[str] | None:
    """Look at pages below a folder; one sentence per fault, None without Chromium."""
    program = next((found for b in BROWSERS if (found := shutil.which(b))), None)
    if program is None:
        return None
    # Below _static lie templates of the theme.
    built = (p for p in folder.rglob("*.html") if "_static" not in p.parts)
    pages = [folder / n for n in names] or sorted(built)
    browser = Browser(program)
    found = []
    try:
        for page in pages:
            name = str(page.relative_to(folder))
            browser.open(page, widths[0])
            for width in widths:
                browser.resize(width, 900)
                told = browser.evaluate(CHECK) or ()
                found += [f"{name} at {width}: {each}" for each in told]
                if pictures is not None:
                    pictures.mkdir(parents=True, exist_ok=True)
                    file = name.replace("/", "-").removesuffix(".html")
                    (pictures / f"{file}-{width}.png").write_bytes(
                        browser.picture(width)
                    )
            found += [f"{name}: {each}" for each in browser.complaints()]
    finally:
        browser.close()
    return list(dict.fromkeys(found))


def main() -> int:
    """Look, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="*", help="below the folder; all without them")
    parser.add_argument("--folder", type=Path, default=BUILT)
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS)
    parser.add_argument("--pictures", type=Path, help="where to keep pictures")
    args = parser.parse_args()
    if not args.folder.is_dir():
        print(f"There is nothing at {args.folder}; run make docs first.")
        return 1
    found = faults(args.folder.resolve(), args.pages, args.widths, args.pictures)
    if found is None:
        print("No Chromium is installed here, so the pages were not looked at.")
        return 0
    print("\n".join(found) or "documents: every page looks as it should")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
