"""Train a crack-segmentation network and report on it, from notebooks. Data passes through the rooms in this order:

config -> data -> networks -> scoring -> store -> training -> evaluation -> many -> reporting -> notebook

Each room imports only from rooms to its left. Each room's docstring says what lives there and what to add there. ``metrics`` hands on names
of ``scoring``; ``errors`` is below all rooms; ``__main__`` is the command line. See CONTRIBUTING.md.
"""

__version__ = "0.1.0"
