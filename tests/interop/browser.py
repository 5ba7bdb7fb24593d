"""Opens pages in headless Chromium."""

import shutil

import pytest
from playwright.sync_api import sync_playwright
from server_fixtures import require_tool

# Without a GPU, WebGL needs a software renderer. Chromium has no sandbox for root.
ARGUMENTS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


def chromium_binary():
    """Path of Chromium or Chrome; None if there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium."""
    require_tool(chromium_binary(), "Chromium", "apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_binary(), args=ARGUMENTS)
        yield browser
        browser.close()


class Tab:
    """A page. `problems` has all errors of scripts and all messages on the console; `requests` all URLs but its own."""

    def __init__(self, browser, url, width=1280, height=900, **context):
        self.context = browser.new_context(viewport={"width": width, "height": height}, **context)
        self.page = self.context.new_page()
        self.problems, self.requests = [], []
        self.page.on("console", self.on_message)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(url)

    def on_message(self, message):
        # Advice to the tests, which read the pixels of a canvas.
        if "willReadFrequently" not in message.text:
            self.problems.append(message.text)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()
