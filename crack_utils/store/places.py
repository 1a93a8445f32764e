"""Where runs, pages and data lie."""

import os
from pathlib import Path
from urllib.parse import quote

from crack_utils.config import check_run_name

REPOSITORY = Path(__file__).resolve().parents[2]


def home() -> Path:
    """The folder with ``runs/``, ``report/`` and ``data/``: the repository, or the folder that CRACK_HOME names."""
    return Path(os.environ.get("CRACK_HOME") or REPOSITORY)


def sample_folder() -> Path:
    """The folder of the drawn sample."""
    return home() / "data" / "sample"


def report_dir(run_name: str) -> Path:
    """The folder of a run's pages."""
    return home() / "report" / check_run_name(run_name)


def report_index() -> Path:
    """The page that lists all runs."""
    return home() / "report" / "index.html"


def relative_url(target: Path, page: Path) -> str:
    """The address of a file in a link on a page."""
    return quote(Path(os.path.relpath(target, page.parent)).as_posix())
