"""Functions that the notebooks' cells call, and widgets. Only this room needs IPython.

Add a new way to show something as a function in ``showing.py``. ``widgets`` has the tools that need a live kernel.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["widgets"],
    submod_attrs={
        "inputs": [
            *(
                "check_count",
                "check_scale",
                "load_data",
                "read_parameters",
                "read_run",
                "read_run_parameters",
                "read_runs",
                "show_data_notices",
            ),
            "train",
        ],
        "showing": [
            *("show", "show_examples", "show_explorer", "show_figure", "show_log", "show_notice", "show_notices", "show_photos"),
            *("show_pictures", "show_table"),
        ],
    },
)
