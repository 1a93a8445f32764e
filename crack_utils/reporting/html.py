"""Numbers as text; tables and texts as HTML."""

import html
import re
from typing import Any, NamedTuple

import pandas as pd

from crack_utils.config import plain

LONG_CELL = 40  # characters; a longer cell may break into lines
WIDE, MANY_ROWS = 4, 40  # more columns do not fit a phone; with more rows a table is scrolled instead of stacked
MARK = re.compile(r"[^\w\s,()./-]|(?<![^\W_])[_./-]|[_./-](?![^\W_])|(?<=\d)\)")  # may be Markdown, unlike the _ in first_trial-2


def literal(value: Any) -> str:
    """A name, message or value from outside for a Markdown text. A page shows every character as it is and takes none for markup."""
    return MARK.sub(lambda mark: f"&#{ord(mark[0])};", " ".join(str(value).split()))


def count(number: int, noun: str) -> str:
    """``1 epoch``, ``2 epochs``."""
    return f"{literal(number)} {noun}" + ("" if number == 1 else "s")  # a damaged file may hold a text for a number


def interval(bounds: list[float | None]) -> str:
    """``0.712 to 0.798``; empty without bounds."""
    return "" if None in bounds else f"{bounds[0]:.3f} to {bounds[1]:.3f}"


def percent_interval(bounds: list[float | None], digits: int) -> str:
    """Shares as ``71 to 80 %``; empty without bounds."""
    return "" if None in bounds else f"{100 * bounds[0]:.{digits}f} to {100 * bounds[1]:.{digits}f} %"


def unit_and_scale(mm_per_px: float | None) -> tuple[str, float]:
    """The unit of lengths on a page, and the length of a pixel in this unit."""
    return ("mm", mm_per_px) if mm_per_px else ("px", 1)


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
    rows = ["".join(map(_cell, names, row)) for row in frame.itertuples(index=False)]
    is_wide = len(names) > WIDE or any('<td class="text"' in row for row in rows)
    kind += " results stacked" if len(frame) == 1 or (is_wide and len(frame) <= MANY_ROWS) else " results"
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return f'<table class="{kind.strip()}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def to_figure(frame: pd.DataFrame, key: str, caption: str, folded: bool = False, sortable: bool = False, filtered: bool = False) -> str:
    """A table below its caption, which a page numbers. Readers can sort a ``sortable`` table and hide rows of a ``filtered`` one."""
    table = to_html(frame, " ".join(["sortable"] * sortable + ["filtered"] * filtered))
    about, caption = f'class="table" data-key="{html.escape(key)}"', html.escape(caption)
    if folded:
        return f'<figure {about}><details><summary><span class="caption">{caption}</span></summary>{table}</details></figure>'
    return f"<figure {about}><figcaption>{caption}</figcaption>{table}</figure>"


def notice(text: str) -> str:
    """A highlighted paragraph: something a reader must know."""
    return f'<p class="notice" role="note">{html.escape(text)}</p>'


def folded_log(log: str) -> str:
    """A log that a reader can unfold."""
    return f'<details class="log"><summary>Log ({len(log.splitlines())} lines)</summary><pre>{html.escape(log)}</pre></details>'
