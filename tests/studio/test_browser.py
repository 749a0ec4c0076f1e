"""The page in a real browser: headless Chromium through Playwright, on a server in a process of its own."""

import io
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import read, write

playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
playwright.expect.set_options(timeout=120_000)
ROOT = Path(__file__).parents[2]
#: WebGL on the processor, as a machine without a display has it
OPTIONS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
PATIENCE = 120_000


@pytest.fixture(scope="module")
def address():
    command = [sys.executable, "-m", "gnnpot", "studio", "--no-browser", "--jobs", "1", "--atoms", "1000"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        lines = iter(process.stdout.readline, "")
        yield next(found.group(0) for line in lines if (found := re.search(r"http://\S+", line)))
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def browser():
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("needs Chromium (apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=path, args=OPTIONS)
        yield found
        found.close()


@pytest.fixture
def page(browser, address):
    """A new visitor; what goes wrong in the page fails the test."""
    context = browser.new_context(viewport={"width": 1200, "height": 800}, locale="en-US", accept_downloads=True)
    context.set_default_timeout(PATIENCE)
    opened, problems = context.new_page(), []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("console", lambda m: problems.append(m.text) if "Content Security" in m.text else None)
    opened.goto(address)
    opened.wait_for_selector("body[data-ready]")
    yield opened
    context.close()
    assert not problems


def say(page, text: str, atoms: int) -> None:
    page.fill("#text", text)
    page.press("#text", "Enter")
    playwright.expect(page.locator(".facts dd").first).to_have_text(str(atoms), timeout=PATIENCE)


def until(page, script: str, seconds: float = 60):
    """The value of a script once it is true; the page forbids scripts that are text, so it is asked again and again."""
    end = time.monotonic() + seconds
    while not (found := page.evaluate(script)):
        assert time.monotonic() < end, f"{script} did not become true"
        page.wait_for_timeout(50)
    return found


ROWS = "() => [...window.studio.state.jobs.values()].flatMap(j => j.rows).length"


def test_a_sentence_in_each_language_a_relaxation_and_a_download(page):
    assert "token" not in page.url
    assert page.locator(".card").count() == 12
    say(page, "Cu(111) slab, 3 layers, 2x2, bottom layer fixed", 12)
    assert page.locator(".chip").count() == 3
    assert page.evaluate("() => window.studio.viewer.atoms.length") >= 12
    page.click("#language")
    assert page.locator("#go").inner_text() == "作成"
    say(page, "Cu(100)表面、3層、2x2、真空層15Å、下1層を固定", 12)
    page.click("#start")
    page.wait_for_selector(".job[data-state=done]")
    energies = page.evaluate("() => [...window.studio.state.jobs.values()][0].rows.map(r => r[1])")
    assert len(energies) > 2 and energies[-1] < energies[0]
    assert page.locator(".history li").count() == 3
    with page.expect_download() as waiting:
        page.click("[data-format=extxyz]")
    atoms = read(waiting.value.path(), format="extxyz")
    assert atoms.get_chemical_formula() == "Cu12"
    page.click("[data-act=play]")
    page.wait_for_selector("#player:not([hidden])")


def test_what_is_not_understood_is_underlined_and_markup_stays_text(page):
    page.fill("#text", "Pt slab <img src=x onerror=alert(1)> florble")
    page.press("#text", "Enter")
    page.wait_for_selector("#reading mark")
    assert "<img" in page.locator("#reading").inner_text() and page.locator("#reading img").count() == 0


def test_a_broken_connection_in_mid_job_and_two_tabs(page, browser, address):
    say(page, "Cu 2x1x1", 8)
    page.click(".tabs button:nth-child(2)")
    page.fill("input[name=steps]", "1000000")
    page.click("#start")
    page.wait_for_selector(".job[data-state=running]")
    before = until(page, ROWS)
    page.evaluate("() => window.studio.connection.socket.close()")
    page.wait_for_selector("body[data-link=open]")
    until(page, f"() => ({ROWS})() > {before}")
    # another tab has a session of its own, and builds while the job runs
    other = page.context.new_page()
    other.goto(address)
    other.wait_for_selector("body[data-ready]")
    assert other.locator(".job").count() == 0
    say(other, "NaCl", 8)
    assert page.locator(".big").inner_text().replace("\n", "") == "Cu8"
    other.close()
    page.reload()
    page.wait_for_selector(".job[data-state=running]")
    page.click("[data-act=stop]")
    page.wait_for_selector(".job[data-state=stopped]")
    page.click("[data-act=resume]")
    page.wait_for_selector(".job[data-state=running]")
    page.click("[data-act=stop]")
    page.wait_for_selector(".job[data-state=stopped]")


def test_uploads_measuring_and_the_keyboard(page):
    page.set_input_files("#file", {"name": "bad.cif", "mimeType": "text/plain", "buffer": bytes(range(256)) * 9})
    page.wait_for_selector(".toast.problem")
    stream = io.BytesIO()
    write(stream, bulk("NaCl", "rocksalt", a=5.64, cubic=True), format="cif")
    page.set_input_files("#file", {"name": "salt.cif", "mimeType": "text/plain", "buffer": stream.getvalue()})
    playwright.expect(page.locator(".facts dd").first).to_have_text("8")
    page.fill("#measure input", "1 2")
    page.press("#measure input", "Enter")
    assert page.locator("#measured").inner_text() == "2.820 Å"
    page.keyboard.press("Escape")
    assert page.locator("#measured").count() == 0
    page.locator("#view").focus()
    before = page.evaluate("() => window.studio.viewer.viewer.getView()")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("() => window.studio.viewer.viewer.getView()") != before
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open]")
    page.keyboard.press("Escape")
    theme = page.evaluate("() => document.documentElement.dataset.theme")
    page.click("#theme")
    assert page.evaluate("() => document.documentElement.dataset.theme") != theme


def test_a_view_that_moves_is_drawn_coarser_and_at_rest_finely(page):
    say(page, "Cu 2x2x2", 32)
    width = "() => document.querySelector('#view canvas').width"
    fine = page.evaluate(width)
    # as after frames that took too long
    page.evaluate("() => { const { viewer } = window.studio; viewer.slowness = 2; viewer.turn(5, 'y'); }")
    until(page, f"() => ({width})() === {fine}")
    for _ in range(3):
        coarse = page.evaluate(f"() => {{ window.studio.viewer.turn(5, 'y'); return ({width})(); }}")
        assert coarse < 0.5 * fine
    assert page.evaluate("() => window.devicePixelRatio") == 1
    until(page, f"() => ({width})() === {fine}")


def test_without_the_token_there_is_no_page(browser, address):
    context = browser.new_context()
    opened = context.new_page()
    answer = opened.goto(address.partition("?")[0])
    assert answer.status == 403
    context.close()
