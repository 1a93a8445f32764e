"""What the notebooks' cells call: read the parameters they were given, show tables, figures and words.

Needs IPython; nothing else in the package imports it.
"""

import base64
import html
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown, display
from matplotlib.figure import Figure

from crack_utils import artifacts, comparison, pictures, plots
from crack_utils.artifacts import Run
from crack_utils.config import PARAMETER_HELP, RunParameters, check_names, check_run_name, parse_parameters, resolve_folders
from crack_utils.data import RunData
from crack_utils.errors import ParameterError
from crack_utils.evaluation import load_examples
from crack_utils.layouts import Crop
from crack_utils.metrics import SEG_THRESHOLDS
from crack_utils.reporting import tables
from crack_utils.training import train_run
from crack_utils.widgets import LiveTraining

_IPYTHON_NAMES = {"In", "Out", "exit", "quit", "open", "get_ipython"}
_PLAIN = (bool, int, float, str, list, tuple, dict, type(None))
_names_at_first_reading: set[str] = set()


def read_parameters(namespace: dict[str, Any], known: list[str]) -> dict[str, Any]:
    """The values of a notebook's parameters, after checking that nothing else was injected.

    Papermill only warns of a name the notebook does not know and goes on with the defaults; here it is an error. So this
    must come right behind the parameters: on its first call in a kernel every plain value is taken for a parameter.

    Args:
        namespace: the notebook's ``globals()``.
        known: names that are parameters here.

    Raises:
        ParameterError: an unknown name, with the nearest known one.
    """
    if not _names_at_first_reading:
        plain = {name for name, value in namespace.items() if isinstance(value, _PLAIN) and not name.startswith("_")}
        check_names(dict.fromkeys(sorted(plain - _IPYTHON_NAMES)), known)
        _names_at_first_reading.update(plain)
    return {name: namespace[name] for name in known if name in namespace}


def read_run_parameters(namespace: dict[str, Any]) -> tuple[RunParameters, str | None]:
    """The run parameters a notebook was given (those it lacks have their defaults), and the run's name, if any.

    A relative folder counts from the notebook's current folder.
    """
    values = read_parameters(namespace, [*PARAMETER_HELP, "run_name"])
    run_name = values.pop("run_name", None)
    return parse_parameters(resolve_folders(values)), None if run_name in (None, "") else str(run_name)


def read_run(namespace: dict[str, Any], *more: str, quiet: bool = False) -> Run:
    """The run a notebook was asked to show, or the newest finished one; says which.

    Args:
        more: names of further parameters of this notebook.
        quiet: leave it to the notebook to say which run this is and what to know about its data.

    Raises:
        MissingRun: there is none yet; train comes first.
    """
    name = read_parameters(namespace, ["run_name", *more])["run_name"]
    run = artifacts.find_run(None if name in (None, "") else str(name))
    which = "" if name else " (the newest finished training)"
    if not quiet:
        show(f"Run **{run.name}**{which}.")
        show_notices(run.load_facts())
    return run


def read_runs(namespace: dict[str, Any]) -> tuple[list[Run], str]:
    """The evaluated runs a notebook was asked to compare, after saying what to know of their data, and the page it becomes."""
    values = read_parameters(namespace, ["runs", "page", "missing"])
    runs = comparison.find_runs(str(values["runs"]).split())
    missing = str(values["missing"] or "").split()
    notices = comparison.notices(runs)
    if missing:
        notices.append(f"Not finished and not in here: {', '.join(missing)}.")
    for notice in notices:
        show_notice(notice)
    return runs, check_run_name(str(values["page"]))


def check_scale(mm_per_px: Any) -> float | None:
    """A parameter that must be a number above 0, or None."""
    if mm_per_px in (None, ""):
        return None
    try:
        value = float(mm_per_px)
    except (TypeError, ValueError):
        value = 0.0
    if not 0 < value < float("inf"):
        raise ParameterError(f"mm_per_px: should be a number above 0, got {mm_per_px!r}")
    return value


def check_count(name: str, value: Any) -> int:
    """A parameter that must be a whole number of at least 1."""
    if not str(value).isdecimal() or int(value) < 1:
        raise ParameterError(f"{name}: should be a whole number of at least 1, got {value!r}")
    return int(value)


def load_data(params: RunParameters) -> RunData:
    """The data a run's parameters name, with the notices that belong to it."""
    data = RunData(params, artifacts.sample_folder())
    show_notices(data.facts)
    return data


def show(text: str) -> None:
    """Show Markdown whose figures were computed, if there is anything to say."""
    if text:
        display(Markdown(text))


def show_notices(facts: dict[str, Any]) -> None:
    """Say what a reader must know before looking at any image or figure of these data."""
    notices = ["The images are drawn by a program. They are not photos."] if facts["drawn"] else []
    if facts.get("test_is_part_of_official") and not facts["drawn"]:
        notices.append(f"Test figures are those of the {facts['test_title']}, not of the whole official test set.")
    for notice in [*notices, *facts["notes"]]:
        show_notice(notice)


def show_notice(text: str) -> None:
    """Show one thing a reader must know."""
    display(HTML(tables.notice(text)))


def show_table(frame: pd.DataFrame, key: str, caption: str, folded: bool = False, sortable: bool = False) -> None:
    """Show a table under its caption.

    Args:
        key: its name on the page: ``[a link](#tbl-KEY)`` leads to it and gets its number.
        folded: it opens on a click.
        sortable: a click on a column's head sorts the page's copy of it.
    """
    display(HTML(tables.to_figure(frame, key, caption, folded, sortable)))


def show_figure(fig: Figure, key: str, look: str, caption: str) -> None:
    """Show a figure: in words what to look for, the figure, and on a page its caption under it.

    Args:
        key: its name on the page: ``[a link](#fig-KEY)`` leads to it and gets its number.
        look: a sentence for people who see such a figure for the first time.
        caption: what it shows.
    """
    display(Markdown(look), metadata={"text/markdown": {"look": key}})  # a page has it in the figure itself
    file = io.BytesIO()
    fig.savefig(file, format="png", dpi=180, facecolor="white")
    about = {
        "key": key,
        "look": look,
        "caption": caption,
        "alt": f"{caption} {plots.describe(fig)}".strip(),
        "width": round(fig.get_figwidth() * 100),
        "series": plots.readings(fig),
    }
    data = {"image/svg+xml": plots.to_svg(fig), "image/png": base64.b64encode(file.getvalue()).decode(), "text/plain": caption}
    display(data, raw=True, metadata={"image/svg+xml": about, "image/png": about | {"series": []}})


def show_pictures(pictures_html: str, key: str, look: str, caption: str) -> None:
    """Show what :mod:`crack_utils.pictures` made as one figure, with the words of :func:`show_figure`."""
    words = f'<p class="look">{html.escape(look)}</p>'
    display(
        HTML(f'<figure class="gallery" data-key="{key}">{words}{pictures_html}<figcaption>{html.escape(caption)}</figcaption></figure>')
    )


def show_photos(crops: Sequence[Crop], key: str, look: str, caption: str) -> None:
    """Show images with their truth outlined."""
    photos = [(crop.pair.stem, pictures.outlined(crop)) for crop in crops]
    show_pictures(pictures.gallery(photos, "Image with its cracks outlined"), key, look, caption)


def show_examples(run: Run, kind: str, limit: int, look: str, caption: str) -> int:
    """Show a run's test images of one kind (worst, median, best, crack-free), or say that there is none.

    Returns:
        How many are shown: ``limit`` at most, fewer where there are no more, or a page could not hold them.
    """
    examples = load_examples(run, kind, limit)
    count = 0
    if examples:
        threshold = run.load_metrics()["segmentation_2px"]["threshold"]
        shades = f"Probability: black below 0.1, white from 0.995; above {threshold:.3f} it counts as crack."
        shown, count = pictures.cases(examples, kind)
        rest = (
            f" Only {count} of {len(examples)} are shown: their probabilities are too detailed for one page."
            if count < len(examples)
            else ""
        )
        show_pictures(shown + pictures.legend(), kind, look, f"{caption} {shades}{rest}")
    else:
        show("The test set holds none.")
    return count


def show_explorer(run: Run, look: str, caption: str) -> None:
    """Show one example large. On a page its script turns this into an explorer of all examples that the page shows."""
    example = load_examples(run, "median", 1)[0]
    thresholds = " ".join(f"{value:.6g}" for value in SEG_THRESHOLDS)
    chosen = int(np.abs(SEG_THRESHOLDS - run.load_metrics()["segmentation_2px"]["threshold"]).argmin())
    note = " data-lowered" if run.load_params().lowered_threshold else ""
    show_pictures(
        f'<div class="explorer" data-thresholds="{thresholds}" data-chosen="{chosen}"{note}>{pictures.still("median", example)}</div>'
        + pictures.legend(),
        "explorer",
        look,
        caption,
    )


def show_log(run: Run) -> None:
    """Show a run's log, folded."""
    display(HTML(tables.folded_log(run.load_log())))


def train(params: RunParameters, run_name: str | None, live: LiveTraining | None) -> Run:
    """Train to the end, or as far as whoever watches lets it; shows a finished training as it is.

    Args:
        live: the training that :func:`crack_utils.widgets.watch` began; None: train here and now.
    """
    if live is None:
        return train_run(params, run_name)
    return live.wait()
