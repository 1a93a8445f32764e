"""Many runs: the members of a sweep, running them side by side, and comparing runs. Numbers only.

Add here what a sweep or a comparison computes; ``reporting/comparison.py`` has the tables and sentences.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "comparison": ["by_group", "chance_between_seeds", "differing", "find_runs", "histories", "load"],
        "members": ["Member", "member_command", "pick_member", "read_members"],
        "pool": ["run_members", "slots"],
        "progress": ["is_finished", "printer", "progress_table", "state", "text_of"],
    },
)
