"""One's own photos, in any of the layouts that ``folders.py`` reads."""

from crack_utils.data.layouts import Layout

LAYOUT = Layout(title="your own photos", cuts_large_photos=True, doubts_offsets=True)
