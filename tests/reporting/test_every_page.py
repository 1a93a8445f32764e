"""What every page of the main job shows: whole, offline, accessible, with its origin and links."""

import functools
import io
import json
import re
from importlib.resources import files

import browsing
import numpy as np
import pytest
from browsing import DESKTOP, EVERY_PAGE, NAMES, PHONE, texts, wait
from PIL import Image
from selenium.webdriver.common.by import By

from crack_utils.config import plain
from crack_utils.reporting.pictures import HIT

reader = browsing.reader  # a fixture


@pytest.mark.slow
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize("page", EVERY_PAGE)
def test_pages_open_offline_whole_and_without_a_complaint(sample_run, reader, page, width):
    _, folder, _ = sample_run
    path = folder.parent / f"{page}.html"
    assert path.stat().st_size < 5_000_000
    browser = reader(page, width)
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requests = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert requests
    assert all(url.startswith(("file://", "data:")) for url in requests)
    images = browser.execute_script("return [...document.images].map(i => [i.naturalWidth, i.alt, i.closest('.stage') !== null])")
    assert all(natural > 1 and (len(alt) > 10 or is_explorer) for natural, alt, is_explorer in images)
    pictures = browser.execute_script(
        "return [...document.querySelectorAll('svg, [role=img]')].filter(s => !s.parentElement.closest('[role=img]'))"
        ".map(s => [s.getAttribute('role'), (s.getAttribute('aria-label') || '').length])"
    )
    assert len(images) + len(pictures) > 0
    assert all(role == "img" and length > 10 for role, length in pictures)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    cut_off = browser.execute_script(
        "return [...document.querySelectorAll('figure.table')].filter(f => f.scrollWidth > f.clientWidth + 1 && f.tabIndex < 0)"
        ".map(f => f.innerText)"
    )
    assert cut_off == []  # what must be scrolled sideways can be, with the keyboard too
    assert "drawn by a program" in browser.execute_script("return document.querySelector('.notice').innerText")
    links = browser.execute_script("return [...document.querySelectorAll('a')].map(a => a.getAttribute('href'))")
    assert all((path.parent / link).is_file() for link in links if not link.startswith(("https://", "#")))
    assert all(browser.execute_script("return !!document.getElementById(arguments[0])", link[1:]) for link in links if link[0] == "#")


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("page", EVERY_PAGE)
def test_axe_finds_no_violation(reader, page, theme):
    axe = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
    for width in (DESKTOP, PHONE):
        browser = reader(page, width, theme)
        if page == "sample/visualize":
            wait(browser, functools.partial(browser.find_elements, By.CSS_SELECTOR, "[data-score=F1]"))
        browser.execute_script(
            "document.querySelector('#show-code').click(); document.querySelectorAll('details').forEach(d => d.open = true)"
        )
        browser.execute_script(axe)
        found = browser.execute_async_script("axe.run(document).then(arguments[0])")
        assert len(found["passes"]) > 20
        assert [(each["id"], [node["html"][:200] for node in each["nodes"]][:3]) for each in found["violations"]] == []


@pytest.mark.slow
def test_without_scripts_all_is_there_and_the_explorer_is_a_still_picture(reader, browser):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    for page in EVERY_PAGE:
        reader(page)
        assert not browser.find_elements(By.CSS_SELECTOR, "button, .reading, dialog")
        assert all(
            height > 0 for height in browser.execute_script("return [...document.querySelectorAll('figure')].map(f => f.offsetHeight)")
        )
    reader("sample/visualize")
    still = browser.find_element(By.CSS_SELECTOR, ".explorer svg")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", still)
    shown = np.asarray(Image.open(io.BytesIO(still.screenshot_as_png)).convert("RGB")).reshape(-1, 3).astype(int)
    assert shown.std() > 10  # a photo, not an empty box
    assert (np.abs(shown - HIT).sum(axis=1) < 12).sum() > 20
    assert len(browser.find_elements(By.CSS_SELECTOR, ".case")) == 30


@pytest.mark.slow
def test_no_image_is_embedded_twice(sample_run):
    _, folder, _ = sample_run
    for path in folder.glob("*.html"):
        embedded = re.findall(r"data:image/\w+;base64,[^\"]{200,}", path.read_text(encoding="utf-8"))
        assert len(embedded) == len(set(embedded))


@pytest.mark.slow
def test_photos_are_webp_and_plots_are_drawings(sample_run):
    _, folder, _ = sample_run
    page = (folder / "visualize.html").read_text(encoding="utf-8")
    photos = re.findall(r'id="photo-[^"]+" [^>]*href="data:image/(\w+)|href="data:image/(\w+)[^>]*id="photo-', page)
    assert len(photos) == 12 + 6 + 6 + 6
    assert {name for pair in photos for name in pair if name} == {"webp"}
    assert "image/png;base64" not in (folder / "train.html").read_text(encoding="utf-8")
    masks = re.findall(r'<image [^>]*href="data:image/png;base64[^>]*', (folder / "evaluate.html").read_text(encoding="utf-8"))
    assert len(masks) == 2 * 3  # of the three worst images truth and errors, which are no photos
    assert all(re.search('id="(truth|errors)-worst-', mask) for mask in masks)


@pytest.mark.slow
@pytest.mark.parametrize("page", [f"sample/{name}" for name in NAMES])
def test_before_each_figure_stands_what_to_look_for(reader, page):
    browser = reader(page)
    looks = browser.execute_script(
        "return [...document.querySelectorAll('figure:not(.table)')].map(f => (f.querySelector(':scope > .look') || {}).innerText)"
    )
    assert looks
    assert all(look and look.rstrip()[-1] in ".?" for look in looks)


@pytest.mark.slow
@pytest.mark.parametrize("page", [f"sample/{name}" for name in NAMES])
def test_every_page_says_where_it_comes_from_and_how_to_repeat_it(sample_run, reader, page):
    run, _, _ = sample_run
    browser = reader(page)
    rows = dict(zip(texts(browser, ".provenance dt"), texts(browser, ".provenance dd"), strict=True))
    assert rows["Run"] == "sample"
    assert rows["Parameters hash"] == run.params.load().fingerprint()
    assert run.params.facts()["fingerprint"]["sha256"][:12] in rows["Data"]
    threads = run.provenance.load()["training"]["threads"]
    assert f", {threads} threads, " in rows["Machine"]
    assert rows["To reproduce"] == f"OMP_NUM_THREADS={threads} python -m crack_utils run runs/sample.yaml"
    assert {"Code", "Packages", "Machine", "Device", "Precision", "Seed", "Started", "Duration", "Evaluated"} <= set(rows)
    assert "not recorded" not in rows.values()


@pytest.mark.slow
def test_pages_lead_to_one_another(reader):
    browser = reader("sample/index")
    seen = [browser.title]
    while following := browser.find_elements(By.CSS_SELECTOR, ".steps [rel=next]"):
        following[0].click()
        seen.append(browser.title)
    assert len(seen) == len(set(seen)) == len(NAMES)
    browser.find_element(By.CSS_SELECTOR, ".steps [rel=prev]").click()
    assert browser.title == seen[-2]
    browser.find_element(By.LINK_TEXT, "All runs").click()
    assert browser.title == "Runs"


@pytest.mark.slow
def test_the_summary_says_what_was_trained_how_good_it_is_and_how_it_lies_to_the_record(sample_run, reader):
    run, _, _ = sample_run
    summary = next(text for text in texts(reader("sample/index"), ".said p") if text.startswith("Run sample"))
    assert "SegDecNet was trained for 12 epochs" in summary
    assert f"mean F1 of {run.metrics.load()['segmentation_2px']['f1']:.3f}" in summary
    assert "The published runs, on CRACK500 photos, reach" in summary
    assert "This run cannot be compared with them" in summary


@pytest.mark.slow
def test_the_pages_show_the_runs_own_figures(sample_run, reader):
    run, _, _ = sample_run
    shown = reader("sample/index").execute_script(
        "return [...document.querySelectorAll('figure.table')].map(f => [f.id, [...f.querySelectorAll('tr')]"
        ".map(r => [...r.children].map(c => c.textContent))])"
    )
    shown = dict(shown)
    decision, segmentation = run.metrics.load()["decision"], run.metrics.load()["segmentation_2px"]
    assert shown["tbl-decision"] == [
        ["Precision", "Recall", "F1", "Accuracy", "Threshold", "TP", "FP", "FN", "TN"],
        [plain(decision[name]) for name in ("precision", "recall", "f1", "accuracy", "threshold", "tp", "fp", "fn", "tn")],
    ]
    assert shown["tbl-segmentation"] == [
        ["Precision", "Recall", "F1", "Threshold"],
        [plain(segmentation[name]) for name in ("precision", "recall", "f1", "threshold")],
    ]
    assert shown["tbl-counts"][1:] == [
        ["Train", "24", "8", "32"],
        ["Test", "30", "10", "40"],
        ["Validation", "18", "6", "24"],
        ["Sum", "72", "24", "96"],
    ]
    assert len(shown["tbl-parameters"]) == 18
