"""Many runs: the members of a sweep, their processes, and numbers that compare runs.

Add a number of the comparison as a function in ``comparison.py``. The table or sentence that shows it is in ``reporting/comparison.py``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "comparison": ["COMPARED", "by_group", "chance_between_seeds", "differing", "find_runs", "histories", "load", "paired", "varied"],
        "members": ["Member", "member_command", "pick_member", "read_members"],
        "pool": [
            *("described", "is_finished", "printer", "progress_table", "run_members", "slots", "state", "text_of"),
            "visible_gpus",
        ],
    },
)
