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
from nbconvert.exporters import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter
from traitlets import default
from traitlets.config import Config

from crack_utils.reporting.executed import diagnose, provenance
from crack_utils.reporting.page_html import finish, themed

TEMPLATE = Path(__file__).parent / "templates" / "crack_report"


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
