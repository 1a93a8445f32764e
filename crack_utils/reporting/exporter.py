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

from crack_utils.reporting.executed import diagnose, execution_rows
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
        left_out = {"remove_cell_tags": {"interactive", "notebook-only", "papermill-error-cell-tag"}, "remove_all_outputs_tags": {"live"}}
        config = Config(
            TemplateExporter=Config(
                file_extension=".html",
                template_name="crack_report",
                extra_template_basedirs=[str(TEMPLATE.parent)],
                filters={"markdown2html": markdown2html, "themed": themed},
            ),
            NbConvertBase=Config(display_data_priority=SHOWN),
            TagRemovePreprocessor=Config(enabled=True, **left_out),
            CoalesceStreamsPreprocessor=Config(enabled=True),
            HighlightMagicsPreprocessor=Config(enabled=True),
        )
        config.merge(super().default_config)
        return config

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
        parts = {name: (TEMPLATE / name).read_text(encoding="utf-8") for name in ("style.css", *SCRIPTS)}
        parts["code_style"] = HtmlFormatter(style="default").get_style_defs(".highlight")
        digests = [base64.b64encode(hashlib.sha256(parts[name].encode()).digest()).decode() for name in SCRIPTS]
        parts["script_hashes"] = " ".join(f"'sha256-{digest}'" for digest in digests)  # a browser runs these scripts and no others
        page, resources = super().from_notebook_node(nb, {**(resources or {}), **parts}, **options)
        return finish(page), resources


@pass_context
def markdown2html(context: Any, source: str) -> str:
    """Markdown as HTML, its formulas as MathML. Headings have no id yet: :func:`finish` gives them one."""
    attachments = context.get("cell", {}).get("attachments", {})
    return MarkdownWithMath(renderer=_Renderer(escape=False, exclude_anchor_links=True, attachments=attachments)).render(source)


class _Renderer(IPythonRenderer):
    """Formulas become MathML."""

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


def themed(svg: str, number: int) -> str:
    """The SVG of plot ``number`` as an element of a page: without a size, in the theme's colours, with ids of its own."""
    try:
        root = ElementTree.fromstring(svg)
    except ElementTree.ParseError:  # not written by crack_utils.reporting.plots
        return svg
    for name in ("width", "height"):
        root.attrib.pop(name, None)
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
