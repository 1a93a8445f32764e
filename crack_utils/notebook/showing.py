"""Tables, figures and words shown."""

import base64
import html
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown, display
from matplotlib.figure import Figure

from crack_utils.config import RunParameters
from crack_utils.data import Crop
from crack_utils.notebook.widgets import LiveTraining
from crack_utils.reporting.html import folded_log, notice, to_figure
from crack_utils.reporting.pictures import cases, gallery, legend, outlined, still
from crack_utils.reporting.plots import describe, readings, to_svg
from crack_utils.scoring import SEG_THRESHOLDS
from crack_utils.store import Run, load_examples
from crack_utils.training import train_run


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
    display(HTML(notice(text)))


def show_table(frame: pd.DataFrame, key: str, caption: str, folded: bool = False, sortable: bool = False) -> None:
    """Show a table under its caption.

    Args:
        key: its name on the page: ``[a link](#tbl-KEY)`` leads to it and gets its number.
        folded: it opens on a click.
        sortable: a click on a column's head sorts the page's copy of it.
    """
    display(HTML(to_figure(frame, key, caption, folded, sortable)))


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
        "alt": f"{caption} {describe(fig)}".strip(),
        "width": round(fig.get_figwidth() * 100),
        "series": readings(fig),
    }
    data = {"image/svg+xml": to_svg(fig), "image/png": base64.b64encode(file.getvalue()).decode(), "text/plain": caption}
    display(data, raw=True, metadata={"image/svg+xml": about, "image/png": about | {"series": []}})


def show_pictures(pictures_html: str, key: str, look: str, caption: str) -> None:
    """Show what :mod:`crack_utils.pictures` made as one figure, with the words of :func:`show_figure`."""
    words = f'<p class="look">{html.escape(look)}</p>'
    display(
        HTML(f'<figure class="gallery" data-key="{key}">{words}{pictures_html}<figcaption>{html.escape(caption)}</figcaption></figure>')
    )


def show_photos(crops: Sequence[Crop], key: str, look: str, caption: str) -> None:
    """Show images with their truth outlined."""
    photos = [(crop.pair.stem, outlined(crop)) for crop in crops]
    show_pictures(gallery(photos, "Image with its cracks outlined"), key, look, caption)


def show_examples(run: Run, kind: str, limit: int, look: str, caption: str) -> int:
    """Show a run's test images of one kind (worst, median, best, crack-free), or say that there is none.

    Returns:
        How many are shown: ``limit`` at most, fewer where there are no more, or a page could not hold them.
    """
    examples = load_examples(run, kind, limit)
    count = 0
    if examples:
        threshold = run.metrics.load()["segmentation_2px"]["threshold"]
        shades = f"Probability: black below 0.1, white from 0.995; above {threshold:.3f} it counts as crack."
        shown, count = cases(examples, kind)
        rest = (
            f" Only {count} of {len(examples)} are shown: their probabilities are too detailed for one page."
            if count < len(examples)
            else ""
        )
        show_pictures(shown + legend(), kind, look, f"{caption} {shades}{rest}")
    else:
        show("The test set holds none.")
    return count


def show_explorer(run: Run, look: str, caption: str) -> None:
    """Show one example large. On a page its script turns this into an explorer of all examples that the page shows."""
    example = load_examples(run, "median", 1)[0]
    thresholds = " ".join(f"{value:.6g}" for value in SEG_THRESHOLDS)
    chosen = int(np.abs(SEG_THRESHOLDS - run.metrics.load()["segmentation_2px"]["threshold"]).argmin())
    note = " data-lowered" if run.params.load().lowered_threshold else ""
    show_pictures(
        f'<div class="explorer" data-thresholds="{thresholds}" data-chosen="{chosen}"{note}>{still("median", example)}</div>' + legend(),
        "explorer",
        look,
        caption,
    )


def show_log(run: Run) -> None:
    """Show a run's log, folded."""
    display(HTML(folded_log(run.log.load())))


def train(params: RunParameters, run_name: str | None, live: LiveTraining | None) -> Run:
    """Train to the end, or as far as whoever watches lets it; shows a finished training as it is.

    Args:
        live: the training that :func:`crack_utils.widgets.watch` began; None: train here and now.
    """
    if live is None:
        return train_run(params, run_name)
    return live.wait()
