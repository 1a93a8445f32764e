"""Networks: from an image to a decision and a segmentation.

Add a network as one file here and one entry in ``NETWORKS`` of ``crack_utils/config/choices.py``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "machine": ["computing", "hardware", "resolve_device"],
        "registry": ["build_model", "count_parameters", "predict"],
        "segdecnet": ["SegDecNet", "SegDecNetJim", "SegDecNetPlusPlus"],
    },
)
