"""The sample that a program draws, in CRACK500's layout."""

from crack_utils.data.layouts import Layout

LAYOUT = Layout(title="the drawn sample", has_fixed_splits=True)
