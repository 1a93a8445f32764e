"""Words, tables, plots, pictures and pages. Only this room writes sentences for pages.

Add a section of a page as a function of a table, a plot or a sentence here, and a cell that shows it in the page's notebook.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=[
        "comparison",
        "evaluation_tables",
        "evaluation_words",
        "exploration",
        "exporter",
        "pages",
        "pictures",
        "plots",
        "record",
        "runner",
        "tables",
        "words",
    ],
)
