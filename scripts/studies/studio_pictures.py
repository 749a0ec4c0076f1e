"""Screenshots of `gnnpot studio` in headless Chromium: the page for docs/studio/, and the examples of its gallery.

python scripts/studies/studio_pictures.py docs/studio --gallery gnnpot/studio/page
"""

import argparse
import base64
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from PIL import Image, ImageOps
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[2]
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
#: options for WebGL on the CPU, for a machine without a display
OPTIONS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
CATALYST = "立方晶ジルコニア(111)表面、2層にPt/Rh合金ナノ粒子（Pt:Rh=1:1、約50原子）を担持、下1層を固定、真空層15Å"
RUTILE = "O-terminated rutile TiO2(110), 3x2, 15 Å vacuum, one CO molecule adsorbed"
#: time after which the browser gives up waiting, ms
TIMEOUT = 240_000


@contextmanager
def server(*options: str) -> Iterator[str]:
    """Run a server of the page; yields its address."""
    command = [sys.executable, "-m", "gnnpot", "studio", "--no-browser", *options]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"}
    )
    try:
        for line in process.stdout:
            found = re.search(r"http://\S+", line)
            if found:
                yield found.group(0)
                return
        raise SystemExit("the server did not start")
    finally:
        process.terminate()
        process.wait()


@contextmanager
def browser(address: str, *, dark: bool = False, language: str = "en-US", size: tuple[int, int] = (1440, 900)):
    """Open the page in a browser and wait until it is ready."""
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        raise SystemExit("there is no Chromium; apt-get install chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=OPTIONS)
        context = chromium.new_context(
            viewport={"width": size[0], "height": size[1]}, locale=language, color_scheme="dark" if dark else "light"
        )
        context.set_default_timeout(TIMEOUT)
        page = context.new_page()
        page.goto(address)
        page.wait_for_selector("body[data-ready]")
        yield page
        chromium.close()


def say(page: Page, text: str) -> None:
    """Enter a sentence and wait for its structure."""
    page.fill("#text", text)
    before = page.locator(".history li").count()
    page.press("#text", "Enter")
    page.wait_for_selector(f".history li:nth-child({before + 1})")
    page.wait_for_timeout(300)


def gallery(address: str, folder: Path) -> None:
    """Screenshots of the examples with transparent background, 480 by 320 pixels."""
    examples = yaml.safe_load((ROOT / "gnnpot/studio/gallery.yaml").read_text(encoding="utf-8"))
    with browser(address) as page:
        page.evaluate("document.getElementById('stage').style.cssText = 'width:480px;height:320px;min-height:0'")
        for example in examples:
            say(page, example["en"][1])
            data = page.evaluate("""() => {
                const { viewer } = window.studio;
                viewer.viewer.setBackgroundColor("white", 0);
                viewer.set("cell", false); viewer.fit(); viewer.scale(1.05);
                return viewer.picture();
            }""")
            image = Image.open(io.BytesIO(base64.b64decode(data.partition(",")[2])))
            image.resize((480, 320), Image.Resampling.LANCZOS).save(folder / f"{example['id']}.webp", quality=80)
            print(example["id"])


def shoot(page: Page, path: Path) -> None:
    """Save a screenshot with 6 bits per color channel, which looks the same and is smaller."""
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    ImageOps.posterize(image, 6).save(path, optimize=True)


def pages(address: str, folder: Path) -> None:
    """Screenshots of the start page, a structure, a running job, the dark theme, and the page in Japanese."""
    folder.mkdir(parents=True, exist_ok=True)
    with browser(address) as page:
        page.wait_for_timeout(800)
        shoot(page, folder / "start.png")
        say(page, RUTILE)
        shoot(page, folder / "light.png")
        page.click("#start")
        page.wait_for_selector(".job[data-state=running]")
        page.wait_for_timeout(5000)
        shoot(page, folder / "running.png")
    with browser(address, dark=True, language="ja-JP") as page:
        say(page, CATALYST)
        page.click("#start")
        page.wait_for_selector(".job[data-state=done], .job[data-state=failed]")
        page.wait_for_timeout(1500)
        shoot(page, folder / "japanese-dark.png")
        page.click("#home")
        page.wait_for_timeout(500)
        shoot(page, folder / "start-japanese.png")
    with browser(address) as page:
        say(page, "graphene sheet 4x4 with one florble")
        shoot(page, folder / "not-understood.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="output folder of the screenshots of the page")
    parser.add_argument("--gallery", type=Path, help="output folder of the screenshots of the examples, made first")
    arguments = parser.parse_args()
    with server() as address:
        if arguments.gallery:
            gallery(address, arguments.gallery)
    with server() as address:
        pages(address, arguments.folder)


if __name__ == "__main__":
    main()
