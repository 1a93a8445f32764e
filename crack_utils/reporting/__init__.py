"""Run the notebooks of one configuration; render them as HTML."""
