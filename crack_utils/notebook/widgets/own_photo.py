"""A tool to search one's own photo for cracks."""

import html
from typing import Any

import ipywidgets

from crack_utils.errors import UserError
from crack_utils.evaluation.photo import Predictor, read_photo
from crack_utils.notebook.widgets.layout import spaced
from crack_utils.reporting.photo import describe, overlay
from crack_utils.reporting.pictures import photo_uri
from crack_utils.store import Run

UPLOAD_MB = 10  # JupyterLab's server drops the connection when a file is larger


def own_photo(run: Run) -> ipywidgets.Widget:
    """Upload a photo of any size and see which cracks the run's network finds, and how long and wide they are."""
    upload = ipywidgets.FileUpload(accept="image/*", description="Photo")
    scale = ipywidgets.FloatText(value=run.params.load().mm_per_px or 0, description="mm per px", tooltip="0: lengths in pixels alone")
    words = ipywidgets.HTML(f"Choose a photo of at most {UPLOAD_MB} MB; <code>python -m crack_utils predict</code> takes larger ones.")
    picture = ipywidgets.HTML()
    found: dict[str, Any] = {}

    def tell(done: int, total: int) -> None:
        if done < total:
            words.value = f"Searching: piece {done + 1} of {total} …"

    def search(_: Any = None) -> None:
        if not upload.value:
            return
        found.pop("prediction", None)
        words.value, picture.value = "Searching …", ""
        try:
            found.setdefault("predictor", Predictor(run))
            photo = read_photo(bytes(upload.value[0]["content"]), run.params.load().input_channels)
            found["prediction"] = found["predictor"](photo, tell)
        except UserError as error:
            words.value = f"<b>{html.escape(str(error))}</b>"
            return
        marked = photo_uri(overlay(found["prediction"]), 1600)
        picture.value = f'<img src="{marked}" alt="The photo with the cracks that were found" style="max-width:100%">'
        say()

    def say(_: Any = None) -> None:
        if "prediction" in found:
            sentences = describe(found["prediction"], scale.value if scale.value > 0 else None)
            words.value = spaced("<br>".join(html.escape(sentences).splitlines()))

    upload.observe(search, "value")
    scale.observe(say, "value")
    return ipywidgets.VBox([ipywidgets.HBox([upload, scale]), words, picture])
