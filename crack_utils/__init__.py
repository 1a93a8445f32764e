"""Train a crack-segmentation network and report on it, from notebooks. See README.md."""

__version__ = "0.1.0"
