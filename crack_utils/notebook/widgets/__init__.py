"""Tools for a notebook with a live kernel. Pages leave out the cells of these tools.

Add a tool as one file here, and its name below.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "data_browser": ["explore"],
        "error_browser": ["browse"],
        "live": ["LiveTraining", "ended", "watch"],
        "own_photo": ["own_photo"],
    },
)
