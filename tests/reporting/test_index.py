"""The list of runs."""

import json
import re

import browsing
import pytest
from browsing import PHONE, texts
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from crack_utils.errors import DataError
from crack_utils.reporting.pages import ROW_TITLES, render, write_index
from crack_utils.store import Run, claimed, write_bytes

reader = browsing.reader  # a fixture


@pytest.mark.slow
def test_the_list_of_runs_leads_to_each_with_its_figures_and_can_be_narrowed(sample_run, reader):
    run, _, _ = sample_run
    other = Run("trial/second")
    other.params.save(run.params.load(), {"device": "cpu"}, run.params.facts())
    render(other, shown=[], failure="train.ipynb stopped. DataError: no mask.")
    with pytest.raises(DataError), claimed(other, "pages"):
        raise DataError("no mask")
    write_index()
    browser = reader("index")
    rows = browser.execute_script("return [...document.querySelectorAll('#tbl-runs tbody tr')].map(r => r.innerText)")
    assert len(rows) == 2
    assert [head.split()[0] for head in texts(browser, "#tbl-runs th")] == [title.split()[0] for title in ROW_TITLES]
    assert f"{run.metrics.load()['segmentation_2px']['f1']:.3f}" in next(row for row in rows if "finished" in row)
    assert any("trial/second" in row and "failed: no mask" in row for row in rows)
    assert browser.find_elements(By.CSS_SELECTOR, "td svg polyline")
    assert browser.find_elements(By.CSS_SELECTOR, "td img[alt*='sample']")
    browser.find_element(By.CSS_SELECTOR, "input[type=search]").send_keys("second")
    assert len([row for row in browser.find_elements(By.CSS_SELECTOR, "#tbl-runs tbody tr") if row.is_displayed()]) == 1
    browser.find_element(By.LINK_TEXT, "trial/second").click()
    assert "DataError: no mask." in browser.find_element(By.CSS_SELECTOR, ".failure").text
    browser.find_element(By.LINK_TEXT, "All runs").click()
    assert browser.title == "Runs"


@pytest.mark.slow
def test_on_a_phone_the_list_of_runs_still_sorts_and_narrows(reader):
    browser = reader("index", PHONE)
    button = browser.find_element(By.XPATH, "//table[@id='tbl-runs' or ancestor::figure[@id='tbl-runs']]//th/button[.='F1']")
    assert button.is_displayed()
    button.send_keys(Keys.ENTER)
    assert browser.find_element(By.CSS_SELECTOR, "#tbl-runs th[aria-sort]").text.startswith("F1")
    browser.find_element(By.CSS_SELECTOR, "input[type=search]").send_keys("no such run")
    assert not [row for row in browser.find_elements(By.CSS_SELECTOR, "#tbl-runs tbody tr") if row.is_displayed()]


def listed(home):
    page = (home / "report" / "index.html").read_text(encoding="utf-8")
    return page, re.findall(r'data-label="Run"><a href="([^"]+)"', page)


def test_one_damaged_or_foreign_folder_keeps_no_run_from_the_list(home):
    facts = {"title": "the drawn sample", "test_title": "the drawn sample", "drawn": True, "counts": {}, "notes": []}
    sound = {"dataset": "sample", "data": facts | {"input_height": 96, "input_width": 160}, "given": {}}
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
    assert "headers-only, no-losses, no-metrics, odd/provenance: The images are drawn by a program." in page
    heads = re.findall(r'<th scope="col">([^<]+)', page)
    assert tuple(heads) == ROW_TITLES
    assert page.count("<polyline") == 1  # of the one history that has losses
