"""CRACK500 in the layouts of its authors and of common copies."""

from crack_utils.data.layouts import Layout
from crack_utils.data.layouts.folders import find_folders

LAYOUT = Layout(
    title="CRACK500",
    find=find_folders,
    link="https://github.com/fyangneil/pavement-crack-detection",
    official_test=1124,
    has_fixed_splits=True,
)
