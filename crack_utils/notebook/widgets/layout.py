"""What the widgets share."""

from collections.abc import Sequence

import numpy as np

from crack_utils.reporting.pictures import gallery as html_gallery


def gallery(photos: Sequence[tuple[str, np.ndarray]], alt: str, columns: int) -> str:
    return spaced(html_gallery(photos, alt, columns))


def spaced(text: str) -> str:
    """HTML whose lines are spaced as text is, not as buttons are, and whose long names keep to their column."""
    return f'<div style="line-height:1.4;overflow-wrap:anywhere">{text}</div>'
