"""Times of `gnnpot studio` in headless Chromium: first view, first structure, first frame of a relaxation, frames/s.

    python scripts/benchmarks/studio.py

WebGL is rendered by the CPU (SwiftShader), which also runs the server and its jobs; a machine with a graphics card
draws faster. The page is opened when the server and its processes are ready.
"""

import json
import os
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "studies"))

#: time after which the server's spare processes are ready, s
PREPARED = 30
REPEATS = 3
TURN = """async () => {
  const { viewer } = window.studio;
  const times = [];
  let last = performance.now();
  for (let k = 0; k < 30; k++) {
    viewer.turn(3, "y");
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    times.push(now - last);
    last = now;
  }
  return times.slice(5);
}"""
MOVE = """async () => {
  const { viewer } = window.studio;
  const times = [];
  for (let k = 0; k < 8; k++) {
    const begun = performance.now();
    viewer.move(viewer.positions.map((x) => x + 0.001), viewer.cell);
    await new Promise(requestAnimationFrame);
    times.push(performance.now() - begun);
  }
  return times.slice(2);
}"""


def main() -> None:
    from studio_pictures import browser, say, server

    found: dict[str, list[float]] = {}

    def note(name: str, seconds: float) -> None:
        found.setdefault(name, []).append(round(seconds, 3))

    load = os.getloadavg()[0]
    with server() as address:
        time.sleep(PREPARED)
        for _ in range(REPEATS):
            with browser(address) as page:
                painted = page.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0].startTime")
                note("first paint, s", painted / 1000)
                note("gallery, s", page.evaluate("() => window.studio.shown / 1000"))
                note("ready with the 3D view, s", page.evaluate("() => window.studio.ready / 1000"))
                begun = time.perf_counter()
                say(page, "Cu(111) slab, 3 layers, 2x2")
                note("sentence to structure, s", time.perf_counter() - begun - 0.3)
                begun = time.perf_counter()
                page.click("#start")
                page.wait_for_selector(".job[data-state=running], .job[data-state=done]")
                note("start to the first frame of a relaxation, s", time.perf_counter() - begun)
                time.sleep(10)
        with browser(address) as page:
            say(page, "Si 6x6x7")
            note("2,016 atoms: frames/s while turning", 1000 / statistics.median(page.evaluate(TURN)))
            note("2,016 atoms: frames/s while moving", 1000 / statistics.median(page.evaluate(MOVE)))
    json.dump({"load average": load, "cores": os.cpu_count(), **found}, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
