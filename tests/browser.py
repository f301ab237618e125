"""Tests in a real browser: Debian's Chromium, driven by PyPI's Playwright. tools/deps.sh --test provides both."""

import os
import shutil
import subprocess
import sys

DEPS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tools", "deps.sh")
sys.path.append(subprocess.run([DEPS, "--print-playwright"], capture_output=True, check=True, encoding="utf-8").stdout.strip())
try:
    from playwright.sync_api import sync_playwright
except ImportError:
    sync_playwright = None

CHROMIUM = shutil.which("chromium")
MISSING = not sync_playwright or not CHROMIUM
SKIPPED = 77


class Browser:
    """Of a test class: cls.browser. What pages complain about, or request from elsewhere than ORIGIN, fails the test."""
    ORIGIN = None

    @classmethod
    def start_browser(cls):
        playwright = sync_playwright().start()
        cls.addClassCleanup(playwright.stop)
        # Chromium's own sandbox needs more than a container's root may do; the pages are ours.
        cls.browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        cls.addClassCleanup(cls.browser.close)

    def setUp(self):
        self.complaints, self.requests = [], []

    def tearDown(self):
        self.assertEqual(self.complaints, [])
        self.assertEqual([url for url in self.requests if not url.startswith((self.ORIGIN, "data:"))], [])

    def watch(self, page):
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("request", lambda request: self.requests.append(request.url))
        return page

    def context(self, **options):
        context = self.browser.new_context(**options)
        self.addCleanup(context.close)
        return context

    @staticmethod
    def fits(page):
        """Nothing is wider than the window."""
        return page.evaluate("document.documentElement.scrollWidth <= innerWidth")
