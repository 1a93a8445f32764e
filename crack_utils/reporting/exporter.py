"""``jupyter nbconvert --to crack_report``: a notebook as one HTML file that opens offline and reads like a paper."""

import base64
import copy
import hashlib
import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import pass_context
from latex2mathml.converter import convert as to_mathml
from nbconvert.exporters import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter
from traitlets import default
from traitlets.config import Config

TEMPLATE = Path(__file__).parent / "templates" / "crack_report"
PLOT_COLORS = {  # of crack_utils.plots; style.css has what each becomes in a dark theme
    "#ffffff": "paper",
    "#000000": "ink",
    "#b0b0b0": "grid",
    "#666666": "grey",
    "#0072b2": "blue",
    "#d55e00": "orange",
    "#009e73": "green",
    "#cc79a7": "pink",
    "#e69f00": "amber",
    "#56b4e9": "sky",
    "#8c6bb1": "violet",
}
HEADING = re.compile(r"<h([123])\b([^>]*)>(.*?)</h\1>", re.DOTALL)
ID = re.compile(r'\bid="([^"]+)"')
FIGURE_PART = re.compile(r'<figure\b([^>]*)>|(<figcaption>|<span class="caption">)')
IMAGE = re.compile(r"<image\b[^>]*>(?:</image>)?")
EMBEDDED = re.compile(r'\bhref="(data:[^"]+)"')
KEY = re.compile(r'data-key="([^"]+)"')
REFERENCE = re.compile(r'<a href="#((?:fig|tbl)-[^"]+)">(.*?)</a>', re.DOTALL)
CONTENTS = "<!-- contents -->"


class CrackReportExporter(HTMLExporter):
    """Renders with the ``crack_report`` template beside this file.

    Cells tagged ``interactive`` or ``notebook-only`` stay out of the page, and so do the outputs of cells tagged ``live``
    (progress that the page shows in another form), unless the notebook failed: then they are all there is.
    """

    export_from_notebook = "Crack report"

    @default("template_name")
    def _template_name_default(self) -> str:
        return "crack_report"

    @default("extra_template_basedirs")
    def _extra_template_basedirs_default(self) -> list[str]:
        return [str(TEMPLATE.parent)]

    @property
    def default_config(self) -> Config:
        config = Config(
            {
                "TagRemovePreprocessor": {
                    "enabled": True,
                    "remove_cell_tags": {"interactive", "notebook-only", "papermill-error-cell-tag"},
                    "remove_all_outputs_tags": {"live"},
                },
                "CoalesceStreamsPreprocessor": {"enabled": True},
            }
        )
        config.merge(super().default_config)
        return config

    def default_filters(self) -> Iterator[tuple[str, Any]]:
        yield from super().default_filters()
        yield "markdown2html", self.markdown2html
        yield "themed", themed

    @pass_context
    def markdown2html(self, context: Any, source: str) -> str:
        """Markdown as HTML, its formulas as MathML."""
        attachments = context.get("cell", {}).get("attachments", {})
        return MarkdownWithMath(renderer=_Renderer(escape=False, attachments=attachments)).render(source)

    def from_notebook_node(self, nb: NotebookNode, resources: dict[str, Any] | None = None, **options: Any) -> tuple[str, dict[str, Any]]:
        nb = copy.deepcopy(nb)
        about = nb.metadata.setdefault("crack_report", NotebookNode())
        about.setdefault("failure", diagnose(nb))
        about.setdefault("provenance", provenance(nb))
        if about.failure:
            for cell in nb.cells:
                cell.metadata["tags"] = [tag for tag in cell.metadata.get("tags", []) if tag != "live"]
        page, resources = super().from_notebook_node(nb, resources, **options)
        return finish(page), resources

    def _init_resources(self, resources: dict[str, Any] | None) -> dict[str, Any]:
        resources = super()._init_resources(resources)
        for name in ("style.css", "theme.js", "script.js"):
            resources[name] = (TEMPLATE / name).read_text(encoding="utf-8")
        resources["code_style"] = HtmlFormatter(style="default").get_style_defs(".highlight")
        digests = [base64.b64encode(hashlib.sha256(resources[name].encode()).digest()).decode() for name in ("theme.js", "script.js")]
        resources["script_hashes"] = " ".join(f"'sha256-{digest}'" for digest in digests)
        return resources


class _Renderer(IPythonRenderer):
    """Headings get their ids later, formulas become MathML."""

    def heading(self, text: str, level: int, **attributes: Any) -> str:
        return f"<h{level}>{text}</h{level}>\n"

    def block_math(self, body: str) -> str:
        return _mathml(body, "block")

    def inline_math(self, body: str) -> str:
        return _mathml(body, "inline")

    def latex_environment(self, name: str, body: str) -> str:
        return _mathml(rf"\begin{{{name}}}{body}\end{{{name}}}", "block")


def _mathml(latex: str, display: str) -> str:
    try:
        formula = to_mathml(html.unescape(latex), display=display)
        return f'<div class="formula" tabindex="0" role="group" aria-label="Formula">{formula}</div>' if display == "block" else formula
    except Exception:  # the library's errors have no common kind; what it cannot read as a formula stays as it was written
        return f"<code>{latex}</code>"


def themed(svg: str, number: int) -> str:
    """A figure of :mod:`crack_utils.plots` ready to stand in a page: as wide as there is room, its colours those of the theme, its
    names no other figure's."""
    svg = re.sub(r'(<svg\b[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg\b[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"#[0-9a-f]{6}\b", lambda match: _variable(match[0]), svg)
    return re.sub(r'(\bid="|url\(#|href="#)', rf"\1f{number}-", svg)


def _variable(color: str) -> str:
    return f"var(--plot-{PLOT_COLORS[color]}, {color})" if color in PLOT_COLORS else color


# --- after rendering: numbers, names, contents -----------------------------------------------------------------------


def finish(page: str) -> str:
    """Embed each picture once, number figures and tables, name headings, resolve references, and fill in the contents."""
    page = _embed_once(page)
    page = re.sub(r"<pre(?=[ >])", '<pre tabindex="0"', page)  # it may scroll, by the keyboard too
    page, numbers = _number(page)
    page = REFERENCE.sub(lambda match: _reference(match[1], match[2], numbers), page)
    page, headings = _name_headings(page)
    return page.replace(CONTENTS, _contents(headings), 1)


def _embed_once(page: str) -> str:
    """An image that several examples show, as in small test sets: the first holds it, the others refer to that."""
    first: dict[str, str] = {}

    def refer(match: re.Match) -> str:
        name, data = ID.search(match[0]), EMBEDDED.search(match[0])
        if not (name and data) or first.setdefault(data[1], name[1]) == name[1]:
            return match[0]
        return f'<use id="{name[1]}" href="#{first[data[1]]}"></use>'

    return IMAGE.sub(refer, page)


def _number(page: str) -> tuple[str, dict[str, str]]:
    """Figures and tables counted in their captions; also what each id is called, such as "Figure 3"."""
    counts = {"Figure": 0, "Table": 0}
    names: dict[str, str] = {}
    current = ""

    def label(match: re.Match) -> str:
        nonlocal current
        if match[2]:
            opening, text = match[2], current
            current = ""
            return f'{opening}<span class="number">{text}.</span> ' if text else opening
        kind = "Table" if 'class="table' in match[1] else "Figure"
        counts[kind] += 1
        current = f"{kind} {counts[kind]}"
        key = KEY.search(match[1])
        short = {"Table": "tbl", "Figure": "fig"}[kind]
        name = f"{short}-{key[1] if key else counts[kind]}"
        if name in names:
            name += f"-{counts[kind]}"
        given = ID.search(match[1])
        names[given[1] if given else name] = current
        return match[0] if given else f'<figure id="{name}"{match[1]}>'

    return FIGURE_PART.sub(label, page), names


def _reference(target: str, text: str, numbers: dict[str, str]) -> str:
    return f'<a href="#{target}">{text} ({numbers[target]})</a>' if target in numbers else text


def _name_headings(page: str) -> tuple[str, list[tuple[int, str, str]]]:
    """Headings with ids; also (level, id, text) of those below the title."""
    found: list[tuple[int, str, str]] = []
    taken: set[str] = set()

    def name(match: re.Match) -> str:
        level, text, given = int(match[1]), re.sub(r"<[^>]+>", "", match[3]).strip(), ID.search(match[2])
        slug = base = given[1] if given else re.sub(r"[^a-z0-9]+", "-", html.unescape(text).lower()).strip("-") or "section"
        number = 1
        while slug in taken:
            number += 1
            slug = f"{base}-{number}"
        taken.add(slug)
        if level > 1:
            found.append((level, slug, text))
        return f'<h{level} id="{slug}"{ID.sub("", match[2])}>{match[3]}</h{level}>'

    return HEADING.sub(name, page), found


def _contents(headings: list[tuple[int, str, str]]) -> str:
    items = "".join(f'<li class="level-{level}"><a href="#{slug}">{text}</a></li>' for level, slug, text in headings)
    return f"<ol>{items}</ol>" if items else ""


# --- what a notebook tells of itself ---------------------------------------------------------------------------------


def completed(notebook: NotebookNode) -> bool:
    """Whether every cell was really executed; papermill marks cells of a dead kernel as completed all the same."""
    about = notebook.metadata.get("papermill", {})
    return bool(about.get("end_time")) and about.get("exception") is not True and _first_unexecuted(notebook) is None


def _first_unexecuted(notebook: NotebookNode) -> int | None:
    """The number, from 1, of the first code cell that the kernel never answered for; None where there is none."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, start=1):
        is_skipped = "skip-execution" in cell.metadata.get("tags", [])
        if cell.source.strip() and not is_skipped and "shell.execute_reply" not in cell.metadata.get("execution", {}):
            return number
    return None


def diagnose(notebook: NotebookNode) -> str | None:
    """Why a notebook did not come to its end, in one sentence; None where nothing says so."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, start=1):
        is_meant = "raises-exception" in cell.metadata.get("tags", [])
        for output in [] if is_meant else cell.get("outputs", []):
            if output.output_type == "error":
                message = " ".join(output.evalue.split())
                return f"This notebook stopped in code cell {number} of {len(code)}: {output.ename}: {message}"
    if "papermill" in notebook.metadata and not completed(notebook):
        number = _first_unexecuted(notebook) or len(code)
        return (
            f"This notebook did not come to its end: in code cell {number} of {len(code)} its kernel died, or it was stopped or timed out."
        )
    return None


def provenance(notebook: NotebookNode) -> dict[str, str]:
    """What papermill noted of the execution, for a page that no run stands behind."""
    about = notebook.metadata.get("papermill", {})
    rows = {"Executed": about.get("start_time", "not recorded")}
    if about.get("duration") is not None:
        rows["Duration"] = f"{about['duration']:.0f} s"
    if about.get("parameters"):
        rows["Parameters"] = ", ".join(f"{name} {value}" for name, value in about["parameters"].items())
    language = notebook.metadata.get("language_info", {})
    if language.get("version"):
        rows["Language"] = f"{language.get('name', '')} {language['version']}"
    if about.get("version"):
        rows["Papermill"] = about["version"]
    return rows
