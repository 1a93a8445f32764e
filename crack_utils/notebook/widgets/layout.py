"""Layout that the widgets share."""

from collections.abc import Sequence

import numpy as np

from crack_utils.reporting.pictures import gallery as html_gallery


def gallery(photos: Sequence[tuple[str, np.ndarray]], alt: str, columns: int) -> str:
    """Photos side by side, each with its name."""
    return spaced(html_gallery(photos, alt, columns))


def spaced(text: str) -> str:
    """HTML with the line spacing of text instead of that of buttons. Long names break to stay in their column."""
    return f'<div style="line-height:1.4;overflow-wrap:anywhere">{text}</div>'
