"""Reading pages in real Chromium. A test file takes the fixture over: ``reader = browsing.reader``."""

import pytest
from selenium.webdriver.support.ui import WebDriverWait

NAMES = ("index", "explore", "train", "evaluate", "visualize")
EVERY_PAGE = [f"sample/{name}" for name in NAMES] + ["index", "compare/index"]
DESKTOP, PHONE = 1280, 390


@pytest.fixture
def reader(sample_run, browser):
    """Opens pages: ``reader("sample/evaluate", width, theme)``. Afterwards the browser is as before."""
    _, folder, _ = sample_run
    browser.execute_cdp_cmd("Network.enable", {})

    def read(page, width=DESKTOP, theme="light"):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": theme}]})
        browser.get_log("browser"), browser.get_log("performance")
        browser.get(f"file://{folder.parent}/{page}.html")
        wait(browser, lambda: browser.execute_script("return document.readyState") == "complete")  # a busy machine may be late
        return browser

    yield read
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    browser.get("about:blank")


def wait(browser, condition, seconds=20):
    """Wait until the condition holds. Returns the condition's value."""
    return WebDriverWait(browser, seconds).until(lambda _: condition())


def texts(browser, selector):
    """The texts of a page's elements."""
    return browser.execute_script("return [...document.querySelectorAll(arguments[0])].map(e => e.innerText.trim())", selector)
