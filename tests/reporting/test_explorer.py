"""The explorer of test images on the page of examples."""

import browsing
import numpy as np
import pytest
from browsing import wait
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from crack_utils.reporting.pictures import COLORS
from crack_utils.scoring import SEG_THRESHOLDS, exceeded, precision_recall_f1, tolerance_counts, tolerance_maps
from crack_utils.store import load_predictions

reader = browsing.reader  # a fixture


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
        painted = zip(COLORS.values(), (int(each.sum()) for each in maps), strict=True)
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
    assert f"The chosen threshold is {chosen:.3f}." in browser.find_element(By.CSS_SELECTOR, ".scores .note").text
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
