"""``jupyter nbconvert --to crack_report``: a notebook as one HTML file that opens offline and reads like a paper."""

import base64
import copy
import hashlib
import html
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from jinja2 import pass_context
from latex2mathml.converter import convert as to_mathml
from nbconvert.exporters import TemplateExporter
from nbconvert.filters import Highlight2HTML
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbconvert.filters.widgetsdatatypefilter import WidgetsDataTypeFilter
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter
from traitlets.config import Config

from crack_utils.reporting.page_html import finish

TEMPLATE = Path(__file__).parent / "templates" / "crack_report"
SCRIPTS = ("theme.js", "script.js", "explorer.js")
SHOWN = ["application/vnd.jupyter.widget-view+json", "application/javascript", "text/html", "text/markdown", "image/svg+xml"]
SHOWN += ["text/latex", "image/png", "image/jpeg", "text/plain"]  # a page shows an output in the first of these forms that it has
PLOT_COLORS = {  # of crack_utils.reporting.plots; style.css says what each becomes in a dark theme
    **{"#ffffff": "paper", "#000000": "ink", "#b0b0b0": "grid", "#666666": "grey", "#0072b2": "blue", "#d55e00": "orange"},
    **{"#009e73": "green", "#cc79a7": "pink", "#e69f00": "amber", "#56b4e9": "sky", "#8c6bb1": "violet"},
}
XLINK = "{http://www.w3.org/1999/xlink}"


class CrackReportExporter(TemplateExporter):
    """Renders with the ``crack_report`` template beside this file.

    A page leaves out cells tagged ``interactive`` or ``notebook-only``, and the outputs of cells tagged ``live`` (progress that the
    page shows in another form). The page of a failed notebook keeps the outputs of live cells, because nothing else shows them.
    The base is not nbconvert's HTMLExporter: that class parses and rewrites every page, which takes longer than rendering.
    """

    export_from_notebook = "Crack report"
    output_mimetype = "text/html"

    @property
    def default_config(self) -> Config:
        template = {"file_extension": ".html", "template_name": "crack_report", "extra_template_basedirs": [str(TEMPLATE.parent)]}
        left_out = {"remove_cell_tags": {"interactive", "notebook-only", "papermill-error-cell-tag"}, "remove_all_outputs_tags": {"live"}}
        config = Config(
            TemplateExporter=template,
            NbConvertBase={"display_data_priority": SHOWN},
            TagRemovePreprocessor=left_out | {"enabled": True},
            CoalesceStreamsPreprocessor={"enabled": True},
            HighlightMagicsPreprocessor={"enabled": True},
        )
        config.merge(super().default_config)
        return config

    def default_filters(self) -> list[tuple[str, Any]]:
        return [*super().default_filters(), ("markdown2html", markdown2html), ("themed", themed)]

    def from_notebook_node(self, nb: NotebookNode, resources: dict[str, Any] | None = None, **options: Any) -> tuple[str, dict[str, Any]]:
        nb = copy.deepcopy(nb)
        found = {"failure": diagnose(nb), "provenance": execution_rows(nb)}
        nb.metadata["crack_report"] = found | nb.metadata.get("crack_report", {})
        if nb.metadata.crack_report.failure:
            for cell in nb.cells:
                cell.metadata["tags"] = [tag for tag in cell.metadata.get("tags", []) if tag != "live"]
        language = nb.metadata.get("language_info", {})
        lexer = language.get("pygments_lexer", language.get("name"))
        self.register_filter("highlight_code", Highlight2HTML(pygments_lexer=lexer, parent=self))
        self.register_filter("filter_data_type", WidgetsDataTypeFilter({"": nb.metadata}, parent=self))
        parts = {name: (TEMPLATE / name).read_text(encoding="utf-8") for name in ("style.css", *SCRIPTS)}
        parts["code_style"] = HtmlFormatter(style="default").get_style_defs(".highlight")
        digests = [base64.b64encode(hashlib.sha256(parts[name].encode()).digest()).decode() for name in SCRIPTS]
        parts["script_hashes"] = " ".join(f"'sha256-{digest}'" for digest in digests)  # a browser runs these scripts and no others
        page, resources = super().from_notebook_node(nb, {**(resources or {}), **parts}, **options)
        return finish(page), resources


def completed(notebook: NotebookNode) -> bool:
    """Whether every cell was really executed. Papermill also marks cells as completed after their kernel died."""
    about = notebook.metadata.get("papermill", {})
    return bool(about.get("end_time")) and about.get("exception") is not True and _first_unexecuted(notebook) is None


def _first_unexecuted(notebook: NotebookNode) -> int | None:
    """The number (from 1) of the first code cell that the kernel never answered; None if it answered all."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, start=1):
        is_skipped = "skip-execution" in cell.metadata.get("tags", [])
        if cell.source.strip() and not is_skipped and "shell.execute_reply" not in cell.metadata.get("execution", {}):
            return number
    return None


def diagnose(notebook: NotebookNode) -> str | None:
    """Why a notebook did not finish, in one sentence; None if it finished or if papermill did not execute it."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, start=1):
        for output in cell.get("outputs", []):
            if output.output_type == "error" and "raises-exception" not in cell.metadata.get("tags", []):
                message = " ".join(output.evalue.split())
                return f"This notebook stopped in code cell {number} of {len(code)}: {output.ename}: {message}"
    if "papermill" not in notebook.metadata or completed(notebook):
        return None
    number = _first_unexecuted(notebook) or len(code)
    return f"This notebook did not finish: in code cell {number} of {len(code)} the kernel died or was stopped, or time ran out."


def execution_rows(notebook: NotebookNode) -> dict[str, str]:
    """Papermill's notes on the execution, for the page of a notebook that belongs to no run."""
    about, language = (notebook.metadata.get(name, {}) for name in ("papermill", "language_info"))
    rows = {
        "Executed": about.get("start_time", "not recorded"),
        "Duration": "" if about.get("duration") is None else f"{about['duration']:.0f} s",
        "Parameters": ", ".join(f"{name} {value}" for name, value in about.get("parameters", {}).items()),
        "Language": f"{language.get('name', '')} {language['version']}" if language.get("version") else "",
        "Papermill": about.get("version"),
    }
    return {title: text for title, text in rows.items() if text}


@pass_context
def markdown2html(context: Any, source: str) -> str:
    """Markdown as HTML, its formulas as MathML. Headings have no id yet: :func:`finish` gives them one."""
    attachments = context.get("cell", {}).get("attachments", {})
    return MarkdownWithMath(renderer=_Renderer(escape=False, exclude_anchor_links=True, attachments=attachments)).render(source)


class _Renderer(IPythonRenderer):
    """Formulas become MathML; a page shows an unreadable formula as it was written."""

    def inline_math(self, body: str, display: str = "inline") -> str:
        try:
            formula = to_mathml(html.unescape(body), display=display)
        except Exception:  # the library's errors have no common class
            return f"<code>{html.escape(body, quote=False)}</code>"
        return f'<div class="formula" tabindex="0" role="group" aria-label="Formula">{formula}</div>' if display == "block" else formula

    def block_math(self, body: str) -> str:
        return self.inline_math(body, "block")

    def latex_environment(self, name: str, body: str) -> str:
        return self.block_math(rf"\begin{{{name}}}{body}\end{{{name}}}")


def themed(svg: str, number: int) -> str:
    """The SVG of plot ``number`` as an element of a page: without a size, in the theme's colours, with ids of its own."""
    try:
        root = ElementTree.fromstring(svg)
    except ElementTree.ParseError:  # not written by crack_utils.reporting.plots
        return svg
    root.attrib = {name: value for name, value in root.attrib.items() if name not in ("width", "height")}
    for element in root.iter():  # in HTML, SVG needs no namespaces
        element.tag = element.tag.rpartition("}")[2]
        element.attrib = {name.replace(XLINK, "xlink:"): _themed(name, value, f"f{number}-") for name, value in element.attrib.items()}
    return ElementTree.tostring(root, encoding="unicode")


def _themed(name: str, value: str, prefix: str) -> str:
    """An attribute's value. A colour is a token within it, so it is replaced as text."""
    if name == "id":
        return prefix + value
    if name.endswith("href"):
        return f"#{prefix}{value[1:]}" if value.startswith("#") else value
    colors = rf"({'|'.join(PLOT_COLORS)})\b"
    return re.sub(colors, lambda color: f"var(--plot-{PLOT_COLORS[color[0]]}, {color[0]})", value).replace("url(#", f"url(#{prefix}")
