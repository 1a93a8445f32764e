"""Functions that show words, tables, figures and pictures in a notebook. A page takes over what they show."""

import base64
import html
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML, Markdown, display
from matplotlib.figure import Figure

from crack_utils.data import Crop, drawn_notice
from crack_utils.reporting.comparison import part_notice
from crack_utils.reporting.html import folded_log, notice, to_figure
from crack_utils.reporting.pictures import cases, gallery, legend, outlined, still
from crack_utils.reporting.plots import describe, readings, to_svg
from crack_utils.scoring import SEG_THRESHOLDS
from crack_utils.store import Run, load_examples


def show(text: str) -> None:
    """Show a Markdown text with computed figures. An empty text shows nothing."""
    if text:
        display(Markdown(text))


def show_notices(facts: dict[str, Any]) -> None:
    """Show the notices of a run's data: what a reader must know before looking at an image or a figure."""
    for text in (drawn_notice(facts), part_notice(facts), *facts["notes"]):
        if text:
            show_notice(text)


def show_notice(text: str) -> None:
    """Show a text as a highlighted paragraph."""
    display(HTML(notice(text)))


def show_table(frame: pd.DataFrame, key: str, caption: str, folded: bool = False, sortable: bool = False) -> None:
    """Show a table below its caption. On the page, ``[a link](#tbl-KEY)`` leads to the table; the page adds the table's number.

    A click opens a ``folded`` table. On the page, a click on a column's head sorts a ``sortable`` table.
    """
    display(HTML(to_figure(frame, key, caption, folded, sortable)))


def show_figure(fig: Figure, key: str, look: str, caption: str) -> None:
    """Show a figure below a sentence that says what to look for (``look``). The page adds the caption.

    On the page, ``[a link](#fig-KEY)`` leads to the figure; the page adds the figure's number.
    """
    display(Markdown(look), metadata={"text/markdown": {"look": key}})  # a page puts this sentence into the figure
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
    """Show pictures that :mod:`crack_utils.reporting.pictures` made, with the words of :func:`show_figure`."""
    words = f'<p class="look">{html.escape(look)}</p>'
    display(
        HTML(f'<figure class="gallery" data-key="{key}">{words}{pictures_html}<figcaption>{html.escape(caption)}</figcaption></figure>')
    )


def show_photos(crops: Sequence[Crop], key: str, look: str, caption: str) -> None:
    """Show images with the outline of their true cracks."""
    photos = [(crop.pair.stem, outlined(crop)) for crop in crops]
    show_pictures(gallery(photos, "Image with its cracks outlined"), key, look, caption)


def show_examples(run: Run, kind: str, limit: int, look: str, caption: str) -> int:
    """Show a run's test images of one kind (worst, median, best, crack-free).

    Returns:
        The number of images shown: at most ``limit``. There are fewer if the test set has no more or a page cannot hold more.
    """
    examples = load_examples(run, kind, limit)
    if not examples:
        show("The test set has no such image.")
        return 0
    threshold = run.metrics.load()["segmentation_2px"]["threshold"]
    caption += f" Probability: black below 0.1, white from 0.995; a pixel above {threshold:.3f} counts as crack."
    shown, count = cases(examples, kind)
    if count < len(examples):
        caption += f" Only {count} of {len(examples)} images are shown: their probabilities are too detailed for one page."
    show_pictures(shown + legend(), kind, look, caption)
    return count


def show_explorer(run: Run, look: str, caption: str) -> None:
    """Show one large example. The page's script turns it into an explorer of all examples on the page."""
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
    """Show a run's log. A click opens the log."""
    display(HTML(folded_log(run.log.load())))
