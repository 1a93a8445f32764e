"""One's own photos: ``images/`` and ``masks/``, or the same in a folder for each split."""

from crack_utils.data.layouts import Layout
from crack_utils.data.layouts.folders import find_folders

LAYOUT = Layout(title="your own photos", find=find_folders, cuts_large_photos=True)
