"""Tables and texts as HTML."""

import html
import re
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

LONG_CELL = 40  # characters; such a cell may break into lines
WIDE, MANY_ROWS = 4, 40  # more columns do not fit a phone; more rows are better scrolled than stacked


def plain(value: Any) -> str:
    """A cell's text: six significant digits, seven for numbers close to 1, whole numbers as they are."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "none"
    if isinstance(value, float | np.floating):
        return f"{value:.7g}" if 0.999 < value < 1 else f"{value:.6g}"
    return str(value)


class Link(NamedTuple):
    """A cell that leads to another page."""

    text: str
    href: str


class Html(str):
    """A cell that is HTML already."""


def _cell(value: Any) -> str:
    if isinstance(value, Html):
        return value
    if isinstance(value, Link):
        return f'<a href="{html.escape(value.href)}">{_breakable(value.text)}</a>'
    return _breakable(plain(value))


def _data(name: str, cell: str) -> str:
    kind = ' class="text"' if len(re.sub("<[^>]*>", "", cell)) > LONG_CELL else ""
    return f'<td{kind} data-label="{name}">{cell}</td>'


def _breakable(text: str) -> str:
    """HTML of a text whose long words may break behind an underscore."""
    return html.escape(text).replace("_", "_<wbr>")


def to_html(frame: pd.DataFrame, kind: str = "") -> str:
    """An HTML table of the further class ``kind``. One too wide for a narrow screen is stacked there, each cell behind its
    column's name."""
    names = [html.escape(str(name)) for name in frame.columns]
    head = "".join(f'<th scope="col">{_breakable(str(name))}</th>' for name in frame.columns)
    cells = [list(map(_data, names, map(_cell, row))) for row in frame.itertuples(index=False)]
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in cells)
    is_wide = len(names) > WIDE or any('class="text"' in cell for row in cells for cell in row)
    kind += " results stacked" if len(frame) == 1 or (is_wide and len(frame) <= MANY_ROWS) else " results"
    return f'<table class="{kind.strip()}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def to_figure(frame: pd.DataFrame, key: str, caption: str, folded: bool = False, sortable: bool = False, filtered: bool = False) -> str:
    """A table under its caption, as a page numbers it (see :func:`crack_utils.notebook.show_table`); a reader may leave out rows of a
    ``filtered`` one."""
    kinds = [kind for kind, is_on in {"sortable": sortable, "filtered": filtered}.items() if is_on]
    table, caption = to_html(frame, " ".join(kinds)), html.escape(caption)
    about = f'class="table" data-key="{html.escape(key)}"'
    if folded:
        return f'<figure {about}><details><summary><span class="caption">{caption}</span></summary>{table}</details></figure>'
    return f"<figure {about}><figcaption>{caption}</figcaption>{table}</figure>"


def notice(text: str) -> str:
    """One thing a reader must know, set off from the rest."""
    return f'<p class="notice" role="note">{html.escape(text)}</p>'


def folded_log(log: str) -> str:
    """A log, folded."""
    summary = f"Log ({len(log.splitlines())} lines)"
    return f'<details class="log"><summary>{summary}</summary><pre>{html.escape(log)}</pre></details>'
