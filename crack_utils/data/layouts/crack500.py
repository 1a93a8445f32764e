"""CRACK500 in the layouts of its authors and of common copies."""

from crack_utils.data.layouts import Layout

LINK = "https://github.com/fyangneil/pavement-crack-detection"
LAYOUT = Layout(title="CRACK500", link=LINK, official_test=1124, has_fixed_splits=True)
