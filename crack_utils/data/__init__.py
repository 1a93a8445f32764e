"""From files to batches: data set layouts, decoding, splits by photo, leaks, augmentation, and the drawn sample.

Add a data set as one file in ``layouts/`` and its name in ``DATASETS`` of ``crack_utils/config/choices.py``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "augmentation": ["augment"],
        "cache": ["Cache"],
        "crops": ["SPLITS", "Crop", "Pair", "read_crops"],
        "dataset": [
            *(
                "Batch",
                "CropDataset",
                "Loader",
                "Placement",
                "batches",
                "crack_weights",
                "fit",
                "fit_image",
                "fit_mask",
                "place",
                "unfit",
            )
        ],
        "device_data": ["DeviceData", "open_loader"],
        "facts": ["data_facts", "drawn_notice", "fingerprint"],
        "geotiff": ["ground_scale"],
        "layouts": ["layout_of"],
        "leaks": ["Leaks", "find_leaks", "pictured"],
        "photos": ["decode", "read_size"],
        "png_rows": ["write_grey_png"],
        "rows": ["WHOLE_UP_TO", "PhotoRows", "open_rows"],
        "run_data": ["RunData", "find_data"],
        "sample": ["ensure_sample", "is_drawn"],
        "splits": ["find_splits"],
    },
)
