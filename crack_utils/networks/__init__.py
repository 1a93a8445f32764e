"""Networks: from an image to a decision and a segmentation.

Add a network as one file here and one entry in ``NETWORKS`` of ``crack_utils/config/choices.py``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "machine": ["computing", "hardware", "resolve_device"],
        "precision": ["InPrecision", "prediction_precision", "resolve_precision", "tf32"],
        "registry": ["build_model", "count_parameters", "predict"],
        "routes": ["chosen_ways"],
        "segdecnet": ["SegDecNet", "SegDecNetJim", "SegDecNetPlusPlus"],
    },
)
