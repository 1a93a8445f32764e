"""Tables and texts as HTML."""

import html
from typing import Any, NamedTuple

import pandas as pd

from crack_utils.config import plain

LONG_CELL = 40  # characters; a longer cell may break into lines
WIDE, MANY_ROWS = 4, 40  # more columns do not fit a phone; with more rows a table is scrolled instead of stacked


class Link(NamedTuple):
    """A cell that leads to another page."""

    text: str
    href: str


class Html(str):
    """A cell's text that is HTML already."""


def _cell(name: str, value: Any) -> str:
    if isinstance(value, Html):
        return f'<td data-label="{name}">{value}</td>'
    text = value.text if isinstance(value, Link) else plain(value)
    kind = ' class="text"' if len(text) > LONG_CELL else ""
    shown = f'<a href="{html.escape(value.href)}">{_breakable(text)}</a>' if isinstance(value, Link) else _breakable(text)
    return f'<td{kind} data-label="{name}">{shown}</td>'


def _breakable(text: str) -> str:
    """A text as HTML; long words may break after an underscore."""
    return html.escape(text).replace("_", "_<wbr>")


def to_html(frame: pd.DataFrame, kind: str = "") -> str:
    """An HTML table with the additional class ``kind``. A narrow screen stacks the cells of a wide table, each after its column's name."""
    names = [html.escape(str(name)) for name in frame.columns]
    head = "".join(f'<th scope="col">{_breakable(str(name))}</th>' for name in frame.columns)
    cells = [list(map(_cell, names, row)) for row in frame.itertuples(index=False)]
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in cells)
    is_wide = len(names) > WIDE or any('class="text"' in cell for row in cells for cell in row)
    kind += " results stacked" if len(frame) == 1 or (is_wide and len(frame) <= MANY_ROWS) else " results"
    return f'<table class="{kind.strip()}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def to_figure(frame: pd.DataFrame, key: str, caption: str, folded: bool = False, sortable: bool = False, filtered: bool = False) -> str:
    """A table below its caption, which a page numbers. Readers can sort a ``sortable`` table and hide rows of a ``filtered`` one."""
    kinds = [kind for kind, is_on in {"sortable": sortable, "filtered": filtered}.items() if is_on]
    table, caption = to_html(frame, " ".join(kinds)), html.escape(caption)
    about = f'class="table" data-key="{html.escape(key)}"'
    if folded:
        return f'<figure {about}><details><summary><span class="caption">{caption}</span></summary>{table}</details></figure>'
    return f"<figure {about}><figcaption>{caption}</figcaption>{table}</figure>"


def notice(text: str) -> str:
    """A highlighted paragraph: something a reader must know."""
    return f'<p class="notice" role="note">{html.escape(text)}</p>'


def folded_log(log: str) -> str:
    """A log that a reader can unfold."""
    summary = f"Log ({len(log.splitlines())} lines)"
    return f'<details class="log"><summary>{summary}</summary><pre>{html.escape(log)}</pre></details>'
