"""One's own photos: ``images/`` and ``masks/``, or the same in a folder for each split."""

from crack_utils.data.layouts import Layout

LAYOUT = Layout(title="your own photos", cuts_large_photos=True)
