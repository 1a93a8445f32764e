"""The pages of the main job, as a reader uses them: in real Chromium, with the mouse, the keyboard, and without scripts."""

import functools
import io
import json
import re
import xml.dom.minidom
from importlib.resources import files

import nbformat
import numpy as np
import pandas as pd
import pytest
from conftest import run_command
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from crack_utils.config import parse_parameters
from crack_utils.errors import UserError
from crack_utils.reporting.html import plain
from crack_utils.reporting.index import ROW_TITLES, write_index
from crack_utils.reporting.pages import render, to_html, unfinished
from crack_utils.reporting.pdf import print_pdf
from crack_utils.scoring import SEG_THRESHOLDS, exceeded, precision_recall_f1, tolerance_counts, tolerance_maps
from crack_utils.store import Run, load_predictions, write_bytes

NAMES = ("index", "explore", "train", "evaluate", "visualize")
EVERY_PAGE = [f"sample/{name}" for name in NAMES] + ["index", "compare/index"]
DESKTOP, PHONE = 1280, 390


@pytest.fixture
def reader(sample_run, browser):
    """Opens pages: ``reader("sample/evaluate", width, theme)``; afterwards the browser is as it was."""
    _, folder, _ = sample_run
    browser.execute_cdp_cmd("Network.enable", {})

    def read(page, width=DESKTOP, theme="light"):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": theme}]})
        browser.get_log("browser"), browser.get_log("performance")
        browser.get(f"file://{folder.parent}/{page}.html")
        return browser

    yield read
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    browser.get("about:blank")


def wait(browser, condition, seconds=20):
    return WebDriverWait(browser, seconds).until(lambda _: condition())


def texts(browser, selector):
    return browser.execute_script("return [...document.querySelectorAll(arguments[0])].map(e => e.innerText.trim())", selector)


# --- every page ------------------------------------------------------------------------------------------------------


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
    assert rows["To reproduce"] == "python -m crack_utils run runs/sample.yaml"
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
    assert "cannot be set against these" in summary


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


@pytest.mark.slow
def test_on_a_phone_the_list_of_runs_still_sorts_and_narrows(reader):
    browser = reader("index", PHONE)
    button = browser.find_element(By.XPATH, "//table[@id='tbl-runs' or ancestor::figure[@id='tbl-runs']]//th/button[.='F1']")
    assert button.is_displayed()
    button.send_keys(Keys.ENTER)
    assert browser.find_element(By.CSS_SELECTOR, "#tbl-runs th[aria-sort]").text.startswith("F1")
    browser.find_element(By.CSS_SELECTOR, "input[type=search]").send_keys("no such run")
    assert not [row for row in browser.find_elements(By.CSS_SELECTOR, "#tbl-runs tbody tr") if row.is_displayed()]


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_code_shows_when_asked_for(reader):
    browser = reader("sample/evaluate")
    heights = "return [...document.querySelectorAll('.code')].map(c => c.offsetHeight)"
    assert browser.execute_script(heights) and not any(browser.execute_script(heights))
    browser.find_element(By.ID, "show-code").click()
    assert all(browser.execute_script(heights))


@pytest.mark.slow
def test_the_contents_mark_the_section_that_is_read(reader):
    browser = reader("sample/evaluate")
    link = browser.find_element(By.CSS_SELECTOR, '.contents a[href="#length-and-width"]')
    link.click()
    wait(browser, lambda: link.get_attribute("aria-current") == "location")
    assert len(browser.find_elements(By.CSS_SELECTOR, ".contents [aria-current]")) == 1


@pytest.mark.slow
def test_the_first_tab_skips_to_the_content(reader):
    browser = reader("sample/index")
    ActionChains(browser).send_keys(Keys.TAB).perform()
    skip = browser.switch_to.active_element
    assert skip.text == "Skip to the content"
    outline = browser.execute_script("return getComputedStyle(arguments[0]).outlineStyle", skip)
    assert outline == "solid"
    skip.send_keys(Keys.ENTER)
    assert browser.switch_to.active_element.get_attribute("id") == "content"


@pytest.mark.slow
def test_the_theme_is_automatic_until_chosen_and_then_kept(reader):
    def colors():
        return browser.execute_script(
            "const of = (s, p) => getComputedStyle(document.querySelector(s))[p];"
            "return [of('body', 'backgroundColor'), of('.plot text', 'fill'), of('td', 'color'), of('.plot path[style*=blue]', 'stroke')]"
        )

    browser = reader("sample/index", theme="light")
    light = colors()
    browser = reader("sample/index", theme="dark")
    dark = colors()
    assert all(a != b for a, b in zip(light, dark, strict=True))
    button = browser.find_element(By.ID, "theme")
    button.click()
    assert button.text == "Theme: light"
    assert colors() == light
    browser = reader("sample/train", theme="dark")
    assert browser.find_element(By.ID, "theme").text == "Theme: light"
    browser.find_element(By.ID, "theme").click()
    browser.find_element(By.ID, "theme").click()
    assert browser.find_element(By.ID, "theme").text == "Theme: auto"


@pytest.mark.slow
def test_tables_are_copied_as_csv_and_latex(sample_run, reader):
    run, _, _ = sample_run
    browser = reader("sample/index")
    browser.execute_script("navigator.clipboard.writeText = async text => { window.copied = text; }")

    def copied(table, kind):
        button = browser.find_element(By.CSS_SELECTOR, f"#{table} button[aria-label^='Copy {kind}']")
        button.send_keys(Keys.ENTER)
        return wait(browser, lambda: browser.execute_script("const text = window.copied; delete window.copied; return text"))

    frame = pd.read_csv(io.StringIO(copied("tbl-segmentation", "CSV")))
    assert frame["F1"][0] == pytest.approx(run.metrics.load()["segmentation_2px"]["f1"], abs=1e-6)
    parameters = pd.read_csv(io.StringIO(copied("tbl-parameters", "CSV")))
    assert parameters.set_index("Parameter").loc["Learning rate", "Value"] == "0.001"
    latex = copied("tbl-counts", "LaTeX").splitlines()
    assert latex[0] == "% \\usepackage{booktabs}"
    assert latex[1:5] == ["\\begin{tabular}{lrrr}", "\\toprule", "Set & Positives & Negatives & Sum \\\\", "\\midrule"]
    assert latex[5] == "Train & 24 & 8 & 32 \\\\"
    assert latex[-2:] == ["\\bottomrule", "\\end{tabular}"]
    browser = reader("sample/evaluate")
    browser.execute_script("navigator.clipboard.writeText = async text => { window.copied = text; }")
    assert "95 \\% interval" in copied("tbl-headline", "LaTeX")


@pytest.mark.slow
def test_copying_works_where_the_clipboard_needs_the_old_way(reader):
    browser = reader("sample/index")
    browser.execute_script(
        "navigator.clipboard.writeText = async () => { throw new Error('no permission'); };"
        "document.addEventListener('copy', () => { window.copied = document.activeElement.value; })"
    )
    button = browser.find_element(By.CSS_SELECTOR, "#tbl-counts button[aria-label^='Copy CSV']")
    button.click()
    wait(browser, lambda: button.text == "Copied")
    assert browser.execute_script("return window.copied").startswith("Set,Positives,")
    assert browser.switch_to.active_element == button


@pytest.mark.slow
def test_the_table_of_images_sorts_by_any_column_with_what_has_no_value_last(sample_run, reader):
    run, _, _ = sample_run
    frame = run.per_image.load()
    browser = reader("sample/visualize")
    heads = texts(browser, "#tbl-images th")
    column = heads.index(next(head for head in heads if head.startswith("F1")))
    head = browser.find_elements(By.CSS_SELECTOR, "#tbl-images th button")[column]

    def shown():
        return browser.execute_script(
            "return [...document.querySelectorAll('#tbl-images tbody tr')].map(r => r.children[arguments[0]].textContent)", column
        )

    assert len(shown()) == len(frame)
    expected = [plain(value) for value in frame["f1"].dropna().round(4).sort_values()]
    head.send_keys(Keys.ENTER)
    assert shown()[: len(expected)] == expected
    head.send_keys(Keys.ENTER)
    assert shown()[: len(expected)] == expected[::-1]
    assert set(shown()[len(expected) :]) == {"none"}
    assert browser.find_elements(By.CSS_SELECTOR, "#tbl-images th")[column].get_attribute("aria-sort") == "descending"


@pytest.mark.slow
def test_curves_are_read_off_with_the_pointer_and_with_keys(sample_run, reader):
    run, _, _ = sample_run
    history = run.history.load()
    browser = reader("sample/train")
    frame = browser.find_element(By.CSS_SELECTOR, "#fig-loss_segmentation .plot[tabindex]")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", frame)
    reading = frame.find_element(By.CSS_SELECTOR, ".reading")
    assert not reading.is_displayed()
    ActionChains(browser).move_to_element_with_offset(frame, frame.size["width"] // 3, 0).perform()
    wait(browser, reading.is_displayed)
    epoch, value = re.fullmatch(r"epoch: (\d+)\nsegmentation loss: ([\d.]+)", reading.text).groups()
    assert float(value) == pytest.approx(history.set_index("epoch").loc[int(epoch), "loss_segmentation"], rel=1e-5)
    ActionChains(browser).move_to_element(browser.find_element(By.TAG_NAME, "h1")).perform()
    frame.send_keys(Keys.ARROW_RIGHT)
    frame.send_keys(Keys.ARROW_RIGHT)
    assert reading.text == f"epoch: 2\nsegmentation loss: {history['loss_segmentation'][1]:.6g}"
    frame.send_keys(Keys.ESCAPE)
    assert not reading.is_displayed()


@pytest.mark.slow
def test_curves_are_read_off_with_a_finger(reader):
    browser = reader("sample/train", PHONE)
    frame = browser.find_element(By.CSS_SELECTOR, "#fig-scores .plot[tabindex]")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", frame)
    box = browser.execute_script("return arguments[0].getBoundingClientRect().toJSON()", frame)
    at = {"x": box["left"] + box["width"] / 2, "y": box["top"] + box["height"] / 2}
    browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [at]})
    browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    reading = frame.find_element(By.CSS_SELECTOR, ".reading")
    wait(browser, reading.is_displayed)
    assert re.match(r"epoch: \d+\n", reading.text)


@pytest.mark.slow
def test_figures_enlarge_in_a_dialog_that_escape_closes(reader):
    browser = reader("sample/index")
    for figure in ("fig-scores", "fig-worst"):
        button = browser.find_element(By.CSS_SELECTOR, f"#{figure} button[aria-label^='Enlarge']")
        button.send_keys(Keys.ENTER)
        content = browser.find_element(By.CSS_SELECTOR, "dialog[open] .view > div")
        before = content.size["width"]
        browser.find_element(By.CSS_SELECTOR, "dialog [aria-label=Larger]").click()
        assert content.size["width"] > 1.3 * before
        ActionChains(browser).send_keys(Keys.ESCAPE).perform()
        wait(browser, lambda: not browser.find_elements(By.TAG_NAME, "dialog"))
        assert browser.switch_to.active_element == button


@pytest.mark.slow
def test_plots_are_saved_with_their_own_colours(reader):
    browser = reader("sample/index", theme="dark")
    browser.execute_script(
        "URL.createObjectURL = blob => {"
        "  blob.arrayBuffer().then(b => { window.saved = [blob.type, [...new Uint8Array(b)]]; }); return '#'; };"
    )

    def saved(kind):
        browser.find_element(By.CSS_SELECTOR, f"#fig-scores button[aria-label^='Save {kind}']").click()
        found = wait(browser, lambda: browser.execute_script("const saved = window.saved; delete window.saved; return saved"))
        return found[0], bytes(found[1])

    kind, svg = saved("SVG")
    assert kind == "image/svg+xml"
    assert b"var(" not in svg and b"#0072b2" in svg
    assert xml.dom.minidom.parseString(svg).documentElement.getAttribute("width").endswith("pt")
    kind, png = saved("PNG")
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    assert picture.width > 1500
    assert picture.getpixel((2, 2)) == (255, 255, 255)  # not the dark theme's ground
    assert len(picture.getcolors(2**24)) > 10


@pytest.mark.slow
def test_figures_lie_in_a_folder_as_svg_and_png(sample_run):
    _, folder, _ = sample_run
    saved = {path.name for path in (folder / "figures").iterdir()}
    for page in NAMES:
        text = (folder / f"{page}.html").read_text(encoding="utf-8")
        prefix = "report" if page == "index" else page
        for figure in re.findall(r"<figure [^>]*>", text):
            kind, key = (re.search(rf'{name}="([^"]+)"', figure)[1] for name in ("class", "data-key"))
            if kind.startswith("chart"):
                assert {f"{prefix}-{key}.svg", f"{prefix}-{key}.png"} <= saved
            elif kind == "gallery" and key != "explorer":
                assert f"{prefix}-{key}.png" in saved
    for path in (folder / "figures").glob("*.svg"):
        xml.dom.minidom.parse(str(path))
    for path in (folder / "figures").glob("*.png"):
        assert min(Image.open(path).size) > 90


@pytest.mark.slow
def test_a_saved_row_of_pictures_shows_photo_truth_probability_and_errors(sample_run):
    run, folder, _ = sample_run
    picture = np.asarray(Image.open(folder / "figures" / "report-worst.png"))
    stem = run.per_image.load()["stem"][0]
    stored = load_predictions(run.folder, "test", {stem})
    height, width = stored.masks[0].shape
    assert picture.shape[1] == 4 * width + 3 * pages.pictures.GAP
    truth = picture[:height, width + pages.pictures.GAP :][:, :width]
    np.testing.assert_array_equal(truth[..., 0] > 127, stored.masks[0])
    levels = picture[:height, 2 * (width + pages.pictures.GAP) :][:, :width, 0]
    assert np.corrcoef(levels.ravel(), stored.seg_probs[0].ravel())[0, 1] > 0.9


# --- the explorer ----------------------------------------------------------------------------------------------------


def scores(browser):
    return dict(
        browser.execute_script(
            "return [...document.querySelectorAll('[data-score]')].map(s => [s.dataset.score, Number(s.querySelector('b').innerText)])"
        )
    )


def colors_of_canvas(browser):
    """How many pixels of the explorer's overlay have each colour."""
    width, height, pixels = browser.execute_script(
        "const c = document.querySelector('.stage canvas');"
        "return [c.width, c.height, [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]]"
    )
    pixels = np.array(pixels, np.uint8).reshape(width * height, 4)
    colors, counts = np.unique(pixels[pixels[:, 3] > 0, :3], axis=0, return_counts=True)
    return dict(zip(map(tuple, colors.tolist()), counts.tolist(), strict=True))


def pick(browser, stem, kind):
    option = f"//select[@id='explorer-image']/optgroup[@label='{kind}']/option[starts-with(., '{stem} ')]"
    browser.find_element(By.XPATH, option).click()
    wait(browser, lambda: stem in (browser.find_element(By.CSS_SELECTOR, ".stage canvas").get_attribute("aria-label") or ""))


def set_threshold(browser, number):
    browser.execute_script(
        "const s = document.querySelector('#explorer-threshold'); s.value = arguments[0]; s.dispatchEvent(new Event('input'))", number
    )


@pytest.mark.slow
def test_the_explorer_holds_the_worst_the_middle_and_the_best(sample_run, reader):
    run, _, _ = sample_run
    browser = reader("sample/visualize")
    cracked = run.per_image.load().query("has_crack")["stem"].tolist()
    groups = browser.execute_script(
        "return [...document.querySelectorAll('#explorer-image optgroup')]"
        ".map(g => [g.label, [...g.children].map(o => o.text.split(' ')[0])])"
    )
    groups = dict(groups)
    assert groups["worst"] == cracked[:12]
    assert groups["median"] == cracked[12:18]
    assert groups["best"] == cracked[::-1][:6]


@pytest.mark.slow
def test_the_explorers_figures_are_those_of_per_image_csv_at_the_chosen_threshold(sample_run, reader):
    run, _, _ = sample_run
    frame = run.per_image.load().set_index("stem")
    browser = reader("sample/visualize")
    for kind, rows in {"worst": frame[:3], "best": frame[frame["has_crack"]][::-1][:2]}.items():
        for stem, row in rows.iterrows():
            pick(browser, stem, kind)
            shown = scores(browser)
            assert (shown["Hits"], shown["False alarms"], shown["Misses"]) == (row["tp"], row["fp"], row["fn"])
            for name in ("precision", "recall", "f1"):
                assert shown[name.title() if name != "f1" else "F1"] == pytest.approx(row[name], abs=5.1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 77, 178, 179])
def test_at_any_threshold_the_explorer_counts_as_the_package_does(sample_run, reader, number):
    run, _, _ = sample_run
    browser = reader("sample/visualize")
    for stem, kind in ((run.per_image.load()["stem"][1], "worst"), (run.per_image.load().query("has_crack")["stem"].iloc[-1], "best")):
        stored = load_predictions(run.folder, "test", {stem})
        tp, fp, fn = (count[0] for count in tolerance_counts(stored.seg_probs, stored.masks, SEG_THRESHOLDS))
        precision, recall, f1 = precision_recall_f1(tp, fp, fn)
        pick(browser, stem, kind)
        set_threshold(browser, number)
        shown = scores(browser)
        assert (shown["Hits"], shown["False alarms"], shown["Misses"]) == (tp[number], fp[number], fn[number])
        figures = {"Precision": precision, "Recall": recall, "F1": f1}
        assert {name: shown[name] for name in figures} == pytest.approx({n: v[number] for n, v in figures.items()}, abs=5.1e-5)
        maps = tolerance_maps(stored.seg_probs[0], stored.masks[0], SEG_THRESHOLDS[number])
        painted = zip(pages.pictures.COLORS.values(), (int(each.sum()) for each in maps), strict=True)
        assert colors_of_canvas(browser) == {color: count for color, count in painted if count}


@pytest.mark.slow
def test_the_threshold_moves_with_the_keyboard_and_goes_back_to_the_chosen_one(sample_run, reader):
    run, _, _ = sample_run
    chosen = run.metrics.load()["segmentation_2px"]["threshold"]
    browser = reader("sample/visualize")
    pick(browser, run.per_image.load()["stem"][0], "worst")
    slider = browser.find_element(By.ID, "explorer-threshold")
    before = scores(browser)
    slider.send_keys(Keys.ARROW_LEFT * 20)
    assert slider.get_attribute("aria-valuetext") == f"{chosen - 0.1:.3f}"
    assert scores(browser)["Misses"] < before["Misses"]
    assert f"Chosen was {chosen:.3f}." in browser.find_element(By.CSS_SELECTOR, ".scores .note").text
    browser.find_element(By.XPATH, "//button[.='Chosen']").click()
    assert scores(browser) == before


@pytest.mark.slow
def test_images_without_a_crack_show_false_alarms_alone(sample_run, reader):
    run, _, _ = sample_run
    row = run.per_image.load().query("~has_crack").sort_values("decision_prob", ascending=False, kind="stable").iloc[0]
    browser = reader("sample/visualize")
    pick(browser, row["stem"], "crack-free")
    assert set(scores(browser)) == {"False alarms", "Share of pixels"}
    assert scores(browser)["False alarms"] == row["predicted_px"]


@pytest.mark.slow
def test_swiping_uncovers_the_photo(reader):
    browser = reader("sample/visualize")
    canvas = browser.find_element(By.CSS_SELECTOR, ".stage canvas")
    wait(browser, lambda: scores(browser))
    slider = browser.find_element(By.ID, "explorer-swipe")
    slider.send_keys(Keys.END)
    assert canvas.value_of_css_property("clip-path") == "inset(0px 0px 0px 100%)"
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    stage = browser.find_element(By.CSS_SELECTOR, ".stage")
    ActionChains(browser).move_to_element(stage).click_and_hold().move_by_offset(-stage.size["width"] // 4, 0).release().perform()
    assert 20 <= int(slider.get_property("value")) <= 30
    photo = browser.find_element(By.CSS_SELECTOR, ".stage img")
    assert photo.get_property("naturalWidth") == canvas.get_property("width")


@pytest.mark.slow
def test_other_views_show_masks_and_probability(sample_run, reader):
    run, _, _ = sample_run
    stem = run.per_image.load()["stem"][0]
    stored = load_predictions(run.folder, "test", {stem})
    browser = reader("sample/visualize")
    pick(browser, stem, "worst")
    white = {
        "predicted mask": int((stored.seg_probs[0].astype(float) > run.metrics.load()["segmentation_2px"]["threshold"]).sum()),
        "true mask": int(stored.masks[0].sum()),
        "probability": int((exceeded(stored.seg_probs[0], SEG_THRESHOLDS) == 180).sum()),
    }
    for view, count in white.items():
        browser.find_element(By.XPATH, f"//select[@id='explorer-view']/option[.='{view}']").click()
        assert sum(number for color, number in colors_of_canvas(browser).items() if min(color) >= 253) == count


@pytest.mark.slow
def test_a_name_in_the_table_and_a_button_beside_a_picture_open_it_in_the_explorer(sample_run, reader):
    run, _, _ = sample_run
    stem = run.per_image.load()["stem"][3]
    browser = reader("sample/visualize")
    link = browser.find_element(By.CSS_SELECTOR, "#tbl-images a[href='#case-worst-3']")
    assert link.text == stem
    browser.execute_script("arguments[0].click()", link)
    canvas = browser.find_element(By.CSS_SELECTOR, ".stage canvas")
    wait(browser, lambda: stem in canvas.get_attribute("aria-label"))
    button = browser.find_element(By.CSS_SELECTOR, "#case-best-0 button")
    browser.execute_script("arguments[0].click()", button)
    other = run.per_image.load().query("has_crack")["stem"].iloc[-1]
    wait(browser, lambda: other in canvas.get_attribute("aria-label"))


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
    assert (np.abs(shown - pages.pictures.HIT).sum(axis=1) < 12).sum() > 20
    assert len(browser.find_elements(By.CSS_SELECTOR, ".case")) == 30


# --- the list of runs, and print -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_list_of_runs_leads_to_each_with_its_figures_and_can_be_narrowed(sample_run, reader):
    run, _, _ = sample_run
    other = Run("trial/second")
    other.params.save(run.params.load(), {"device": "cpu"}, run.params.facts())
    render(other, shown=[], failure="train.ipynb stopped. DataError: no mask.")
    browser = reader("index")
    rows = browser.execute_script("return [...document.querySelectorAll('#tbl-runs tbody tr')].map(r => r.innerText)")
    assert len(rows) == 2
    assert [head.split()[0] for head in texts(browser, "#tbl-runs th")] == [title.split()[0] for title in ROW_TITLES]
    assert f"{run.metrics.load()['segmentation_2px']['f1']:.3f}" in next(row for row in rows if "finished" in row)
    assert any("trial/second" in row and "stopped" in row for row in rows)
    assert browser.find_elements(By.CSS_SELECTOR, "td svg polyline")
    assert browser.find_elements(By.CSS_SELECTOR, "td img[alt*='sample']")
    browser.find_element(By.CSS_SELECTOR, "input[type=search]").send_keys("second")
    assert len([row for row in browser.find_elements(By.CSS_SELECTOR, "#tbl-runs tbody tr") if row.is_displayed()]) == 1
    browser.find_element(By.LINK_TEXT, "trial/second").click()
    assert "DataError: no mask." in browser.find_element(By.CSS_SELECTOR, ".failure").text
    browser.find_element(By.LINK_TEXT, "All runs").click()
    assert browser.title == "Runs"


@pytest.mark.slow
def test_the_write_up_prints_to_pdf_and_says_so_where_no_browser_is(sample_run):
    _, folder, _ = sample_run
    done = run_command(folder.parents[1], "render", "sample", "--pdf", timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"PDF: {folder / 'index.pdf'}"
    assert (folder / "index.pdf").read_bytes().startswith(b"%PDF")
    assert (folder / "index.pdf").stat().st_size > 50_000
    done = run_command(folder.parents[1], "render", "sample", "--pdf", timeout=600, PATH="/nowhere")
    assert done.returncode == 1
    assert "no PDF: none of chromium, " in done.stderr


@pytest.mark.slow
def test_a_page_made_by_nbconvert_alone_is_the_same_but_for_the_run(sample_run):
    run, folder, _ = sample_run
    page = to_html(nbformat.read(run.notebook("evaluate"), as_version=4))
    whole = (folder / "evaluate.html").read_text(encoding="utf-8")
    figures = [re.findall(r'<figure id="([^"]+)"', text) for text in (page, whole)]
    assert figures[0] == figures[1] != []


# --- the list of runs, without a browser


def listed(home):
    page = (home / "report" / "index.html").read_text(encoding="utf-8")
    return page, re.findall(r'data-label="Run"><a href="([^"]+)"', page)


def test_one_damaged_or_foreign_folder_keeps_no_run_from_the_list(home):
    sound = {"dataset": "sample", "data": {"test_title": "the drawn sample", "drawn": True}, "given": {}}
    runs = {
        "headers-only": {"params.json": json.dumps(sound), "history.csv": "epoch,loss,loss_segmentation\n"},
        "no-losses": {"params.json": json.dumps(sound), "history.csv": "epoch\n1\n"},
        "no-metrics": {"params.json": json.dumps(sound), "history.csv": "epoch,loss_segmentation\n1,0.5\n", "metrics.json": "[]"},
        "no-facts": {"params.json": json.dumps({**sound, "data": {}})},
        "a-number": {"params.json": "7"},
        "half": {"params.json": "{"},
        "odd/provenance": {"params.json": json.dumps(sound), "provenance.json": "[]"},
    }
    for name, files_of_run in runs.items():
        for file, text in files_of_run.items():
            write_bytes(home / "runs" / name / file, text.encode())
    for name in (*runs, "foreign", "old..bak", "sample.yaml", "no-facts/figures"):
        write_bytes(home / "report" / name / "index.html", b"")
    write_index()
    page, links = listed(home)
    assert sorted(links) == sorted(f"{name}/index.html" for name in runs)
    assert "drawn by a program" in page
    heads = re.findall(r'<th scope="col">([^<]+)', page)
    assert tuple(heads) == ROW_TITLES
    assert page.count("<polyline") == 1  # of the one history that has losses


def test_an_unfinished_run_says_how_far_it_came_or_nothing(home):
    run = Run("early")
    run.params.save(parse_parameters({"epochs": 3}), {}, {})
    run.history.save([])
    assert [cell.source for cell in unfinished(run, "why").cells] == ["# Run early did not finish"]
    run.params.save(parse_parameters({"epochs": 3}), {}, {"drawn": True})
    assert "drawn by a program" in unfinished(run, "why").cells[1].outputs[0].data["text/html"]
    run.history.save([{"epoch": 1, "loss": 0.5, "time_s": 60.0}])
    assert "1 of 3 epochs are done, 1.0 minutes of training." in unfinished(run, "why").cells[2].source


@pytest.mark.parametrize(("script", "message"), [("exit 3", "failed"), ("exit 0", "failed")])
def test_a_browser_that_prints_nothing_is_told_and_an_old_pdf_is_not_taken_for_a_new_one(tmp_path, monkeypatch, script, message):
    (tmp_path / "chromium").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "chromium").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (tmp_path / "index.pdf").write_text("old")
    with pytest.raises(UserError, match=message):
        print_pdf(tmp_path / "index.html")
    assert not (tmp_path / "index.pdf").exists()
