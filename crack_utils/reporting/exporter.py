"""``jupyter nbconvert --to crack_report``: a notebook as one HTML file that opens offline and reads like a paper."""

import base64
import copy
import hashlib
import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import pass_context
from latex2mathml.converter import convert as to_mathml
from nbconvert.exporters import TemplateExporter
from nbconvert.filters import Highlight2HTML
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbconvert.filters.widgetsdatatypefilter import WidgetsDataTypeFilter
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter
from traitlets.config import Config

from crack_utils.reporting.executed import diagnose, execution_rows
from crack_utils.reporting.page_html import finish
from crack_utils.reporting.plot_theme import themed

TEMPLATE = Path(__file__).parent / "templates" / "crack_report"
SCRIPTS = ("theme.js", "script.js", "explorer.js")
SHOWN = ["application/vnd.jupyter.widget-view+json", "application/javascript", "text/html", "text/markdown", "image/svg+xml"]
SHOWN += ["text/latex", "image/png", "image/jpeg", "text/plain"]  # a page shows an output in the first of these forms that it has


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
        config = Config(
            {
                "TemplateExporter": {
                    "file_extension": ".html",
                    "template_name": "crack_report",
                    "extra_template_basedirs": [str(TEMPLATE.parent)],
                },
                "NbConvertBase": {"display_data_priority": SHOWN},
                "TagRemovePreprocessor": {
                    "enabled": True,
                    "remove_cell_tags": {"interactive", "notebook-only", "papermill-error-cell-tag"},
                    "remove_all_outputs_tags": {"live"},
                },
                "CoalesceStreamsPreprocessor": {"enabled": True},
                "HighlightMagicsPreprocessor": {"enabled": True},
            }
        )
        config.merge(super().default_config)
        return config

    def default_filters(self) -> Iterator[tuple[str, Any]]:
        yield from super().default_filters()
        yield "markdown2html", markdown2html
        yield "themed", themed

    def from_notebook_node(self, nb: NotebookNode, resources: dict[str, Any] | None = None, **options: Any) -> tuple[str, dict[str, Any]]:
        nb = copy.deepcopy(nb)
        about = nb.metadata.setdefault("crack_report", NotebookNode())
        about.setdefault("failure", diagnose(nb))
        about.setdefault("provenance", execution_rows(nb))
        if about.failure:
            for cell in nb.cells:
                cell.metadata["tags"] = [tag for tag in cell.metadata.get("tags", []) if tag != "live"]
        language = nb.metadata.get("language_info", {})
        lexer = language.get("pygments_lexer", language.get("name"))
        self.register_filter("highlight_code", Highlight2HTML(pygments_lexer=lexer, parent=self))
        self.register_filter("filter_data_type", WidgetsDataTypeFilter({"": nb.metadata}, parent=self))
        page, resources = super().from_notebook_node(nb, {**(resources or {}), **_page_parts()}, **options)
        return finish(page), resources


def _page_parts() -> dict[str, str]:
    """Styles, scripts, and the hashes that let a browser run these scripts and no others."""
    parts = {name: (TEMPLATE / name).read_text(encoding="utf-8") for name in ("style.css", *SCRIPTS)}
    digests = [base64.b64encode(hashlib.sha256(parts[name].encode()).digest()).decode() for name in SCRIPTS]
    return parts | {
        "code_style": HtmlFormatter(style="default").get_style_defs(".highlight"),
        "script_hashes": " ".join(f"'sha256-{digest}'" for digest in digests),
    }


@pass_context
def markdown2html(context: Any, source: str) -> str:
    """Markdown as HTML, its formulas as MathML."""
    attachments = context.get("cell", {}).get("attachments", {})
    return MarkdownWithMath(renderer=_Renderer(escape=False, attachments=attachments)).render(source)


class _Renderer(IPythonRenderer):
    """Formulas become MathML. Headings have no id yet: :func:`finish` gives them one."""

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
    except Exception:  # the library's errors have no common class; the page shows an unreadable formula as it was written
        return f"<code>{html.escape(latex, quote=False)}</code>"
