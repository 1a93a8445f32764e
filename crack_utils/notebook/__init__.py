"""What the notebooks' cells call: inputs, tables, figures, words, and widgets. Only this room needs IPython.

Add here what a cell needs to show something in a new way; ``widgets`` holds the tools for a notebook with a live kernel.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["widgets"],
    submod_attrs={
        "inputs": ["check_count", "check_scale", "load_data", "read_parameters", "read_run", "read_run_parameters", "read_runs"],
        "showing": [
            "show",
            "show_examples",
            "show_explorer",
            "show_figure",
            "show_log",
            "show_notice",
            "show_notices",
            "show_photos",
            "show_pictures",
            "show_table",
            "train",
        ],
    },
)
