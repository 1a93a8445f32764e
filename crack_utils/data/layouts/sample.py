"""The sample that a program draws, in CRACK500's layout."""

from crack_utils.data.layouts import Layout
from crack_utils.data.layouts.folders import find_folders

LAYOUT = Layout(title="the drawn sample", find=find_folders, has_fixed_splits=True)
