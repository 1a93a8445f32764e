"""What a reader does with a page: with the mouse, the keyboard and a finger."""

import io
import re
import xml.dom.minidom

import browsing
import pandas as pd
import pytest
from browsing import PHONE, texts, wait
from PIL import Image
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from crack_utils.config import plain

reader = browsing.reader  # a fixture


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
