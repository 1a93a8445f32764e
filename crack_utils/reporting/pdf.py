"""Pages as PDF files."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from crack_utils.errors import UserError

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")


def print_pdf(page: Path) -> Path:
    """Print a page to a PDF file beside it, with a Chromium browser of this machine.

    Raises:
        UserError: no such browser is installed, or the browser failed.
    """
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        raise UserError(f"no PDF: none of {', '.join(CHROMIUM)} is installed; install one, or print {page} from a browser")
    target = page.with_suffix(".pdf")
    target.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        options = ["--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking", f"--user-data-dir={profile}"]
        options += ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []  # its sandbox refuses root
        words = [program, *options, "--no-pdf-header-footer", f"--print-to-pdf={target}", page.resolve().as_uri()]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=180)
        except subprocess.TimeoutExpired:
            raise UserError(f"no PDF: {program} took longer than 180 s; print {page} from a browser") from None
    if done.returncode or not target.is_file():
        raise UserError(f"no PDF: {program} failed ({done.stderr.strip()[-200:]}); print {page} from a browser")
    return target
