"""The page in a real browser: nothing is fetched, nothing is complained of, and it answers to the mouse.

Needs Chromium (Debian's package `chromium`) and playwright (pip install playwright); skipped without them.
"""

from __future__ import annotations

import json
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from astr_cli.report.report import write_report

from .conftest import NAMES, with_repeats
from .large import write_database, write_model, write_photos

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
# The software renderer draws WebGL where there is no GPU.
FLAGS = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]
PATIENCE = 120_000  # ms: other tests may run beside this one


class Tab:
    """An open page, with what it complained of and asked for."""

    def __init__(self, browser: Any) -> None:
        self.page = browser.new_page(viewport={"width": 1300, "height": 900})
        self.page.set_default_timeout(PATIENCE)
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def open(self, path: Path) -> None:
        self.page.goto(path.resolve().as_uri())
        self.wait_until(
            "() => Boolean(document.title) && document.querySelectorAll('#photo-table tbody tr').length > 0"
        )

    def wait_until(self, condition: str) -> None:
        """Asks again and again. Playwright's own way evaluates text in the page, which the page forbids."""
        for _ in range(PATIENCE // 100):
            if self.page.evaluate(condition):
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(f"never true: {condition}")

    def need_quiet(self, path: Path) -> None:
        assert self.errors == []
        assert [url for url in self.requests if not url.startswith(("data:", "blob:"))] == [path.resolve().as_uri()]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium: install Debian's package chromium")
    api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()


EYE = "JSON.stringify(document.getElementById('view')._fullLayout.scene._scene.getCamera().eye)"
# Where a camera of the model is on the screen.
PLACE = """number => {
    const view = document.getElementById('view'), scene = view._fullLayout.scene._scene;
    const scale = scene.dataScale, centre = photos[number].centre, params = scene.glplot.cameraParams;
    let place = [...centre.map((value, k) => value * scale[k]), 1];
    for (const matrix of [params.model, params.view, params.projection])
        place = [0, 1, 2, 3].map(row => [0, 1, 2, 3].reduce((sum, k) => sum + matrix[4 * k + row] * place[k], 0));
    const box = view.getBoundingClientRect();
    return [box.left + (place[0] / place[3] + 1) / 2 * box.width, box.top + (1 - place[1] / place[3]) / 2 * box.height];
}"""


@pytest.mark.slow
def test_it_answers_to_a_drag_and_to_a_click(browser: Any, made: Path) -> None:
    tab, path = Tab(browser), made / "out" / "report.html"
    tab.open(path)
    page = tab.page
    page.wait_for_selector("#chosen-photo canvas")
    before = page.evaluate(EYE)
    box = page.locator("#view").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 120, middle[1] + 30, steps=10)
    page.mouse.up()
    tab.wait_until(f"() => {EYE} !== {json.dumps(before)}")
    # Another camera than the one that is shown.
    shown = int(page.locator("#chosen-photo").get_attribute("data-number"))
    other = (shown + 2) % len(NAMES)
    x, y = page.evaluate(PLACE, other)
    page.evaluate("() => find('view').on('plotly_hover', event => { window.hovered = event.points[0].customdata; })")
    for _ in range(100):  # until a frame was drawn with the mouse there
        page.mouse.move(x - 2, y - 2)
        page.mouse.move(x, y, steps=3)
        page.wait_for_timeout(200)
        if page.evaluate("window.hovered") == other:
            break
    page.mouse.down()  # the view looks at the mouse once per frame, and a slow machine draws few of them
    page.wait_for_timeout(1500)
    page.mouse.up()
    tab.wait_until(f"() => document.getElementById('chosen-photo').dataset.number === '{other}'")
    assert page.locator("#chosen-photo .name").inner_text() == page.evaluate("number => photos[number].name", other)
    tab.need_quiet(path)
    assert page.locator(".modebar-btn").count() == 0  # one would send the data to a server of Plotly's


@pytest.mark.slow
def test_names_are_shown_as_they_are(browser: Any, made: Path) -> None:
    tab, path = Tab(browser), made / "out" / "report.html"
    tab.open(path)
    names = tab.page.locator("#photo-table tbody tr td:nth-child(2)").all_inner_texts()
    assert names == sorted(NAMES)
    ticks = tab.page.locator("#matrix .ytick text").all_text_contents()
    assert {tick.lstrip("…") for tick in ticks} == {name[-17:] if len(name) > 18 else name for name in NAMES}
    tab.page.locator("#pair-table tbody tr").first.click()
    tab.page.wait_for_selector("#chosen-pair canvas")
    tab.need_quiet(path)


@pytest.mark.slow
def test_misled_pairs_are_named_and_shown(browser: Any, made: Path, tmp_path: Path) -> None:
    path, (repeat,) = with_repeats(made, tmp_path / "out")
    tab = Tab(browser)
    tab.open(path)
    cells = tab.page.locator("#repeats-table tbody td").all_inner_texts()
    assert cells == [repeat["name0"], repeat["name1"], repeat["reason"]]
    assert tab.page.locator("#repeats-note").inner_text().endswith("The model was mapped without them.")
    tab.page.locator("#repeats-table tbody tr").click()
    shown = tab.page.locator("#chosen-pair .name").inner_text()
    assert repeat["name0"] in shown and repeat["name1"] in shown
    tab.need_quiet(path)
    tab.open(made / "out" / "report.html")
    assert not tab.page.locator("#repeats").is_visible()


@pytest.mark.slow
def test_a_large_model(browser: Any, tmp_path: Path) -> None:
    """1,000 photos and 300,000 points: small enough to send by mail, made in a minute of CPU time, and it opens."""
    names = write_model(tmp_path / "sparse" / "0", 1000, 300_000)
    write_photos(tmp_path / "images", names)
    write_database(tmp_path / "database.db", names, 10, 400)
    before = resource.getrusage(resource.RUSAGE_SELF)
    report = write_report(tmp_path)
    after = resource.getrusage(resource.RUSAGE_SELF)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"1,000 photos and 300,000 points: {seconds:.1f} s of CPU time, {report.size / 1e6:.1f} MB")
    assert report.size < 30_000_000
    tab = Tab(browser)
    tab.open(report.page)
    assert tab.page.locator("#photo-table tbody tr").count() == 1000
    tab.need_quiet(report.page)
