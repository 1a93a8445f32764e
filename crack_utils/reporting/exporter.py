"""``jupyter nbconvert --to crack_report``: a notebook as one HTML file that opens offline and shows no code unless asked."""

from pathlib import Path

from nbconvert.exporters import HTMLExporter
from pygments.formatters import HtmlFormatter
from traitlets import default
from traitlets.config import Config

TEMPLATES = Path(__file__).parent / "templates"


class CrackReportExporter(HTMLExporter):
    """Renders with the ``crack_report`` template beside this file.

    Cells tagged ``interactive`` or ``notebook-only`` stay out of the page, and so do the outputs of cells tagged ``live``
    (progress that the page shows in another form).
    """

    export_from_notebook = "Crack report"

    @default("template_name")
    def _template_name_default(self) -> str:
        return "crack_report"

    @default("extra_template_basedirs")
    def _extra_template_basedirs_default(self) -> list[str]:
        return [str(TEMPLATES)]

    @default("exclude_anchor_links")
    def _exclude_anchor_links_default(self) -> bool:
        return True

    @property
    def default_config(self) -> Config:
        config = Config(
            {
                "TagRemovePreprocessor": {
                    "enabled": True,
                    "remove_cell_tags": {"interactive", "notebook-only"},
                    "remove_all_outputs_tags": {"live"},
                },
                "CoalesceStreamsPreprocessor": {"enabled": True},
            }
        )
        config.merge(super().default_config)
        return config

    def _init_resources(self, resources):
        resources = super()._init_resources(resources)
        resources["style"] = (TEMPLATES / "crack_report" / "style.css").read_text(encoding="utf-8")
        resources["code_style"] = HtmlFormatter(style="friendly").get_style_defs(".highlight")
        return resources
