"""Tools for a notebook with a live kernel. Pages leave out the cells of these tools.

Add a tool as one function here, and its name below.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"browsers": ["browse", "explore", "own_photo"], "live": ["LiveTraining", "ended", "watch"]}
)
