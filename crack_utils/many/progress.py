"""The progress of a sweep."""

import contextlib
import shutil
import sys
from collections.abc import Callable

import pandas as pd

from crack_utils.errors import UserError
from crack_utils.many.members import Member
from crack_utils.store import report_dir


def is_finished(member: Member, pages: bool) -> bool:
    """Whether a member is trained with its parameters, evaluated, and rendered if ``pages``."""
    return state(member, pages) == "finished"


def state(member: Member, pages: bool) -> str:
    """The state of a member that no process works on: open, without pages (if ``pages``), or finished."""
    if not (member.run.is_trained and member.run.is_evaluated and _has_same_parameters(member)):
        return "open"
    has_pages = not pages or (report_dir(member.run.name) / "index.html").is_file()
    return "finished" if has_pages else "without pages"


def _has_same_parameters(member: Member) -> bool:
    """Whether the run's folder holds a training with the member's parameters."""
    with contextlib.suppress(UserError):  # a run with an unreadable file is not finished; running the member says why
        return not member.run.params.load().differences(member.params)
    return False


def progress_table(members: list[Member], states: dict[str, str]) -> pd.DataFrame:
    """Epochs, F1 and state of each member. ``states`` has the states by label."""
    rows = []
    for member in members:
        history, test_f1 = pd.DataFrame({"epoch": [], "val_f1": []}), float("nan")
        if _has_same_parameters(member):
            with contextlib.suppress(UserError):  # a file does not exist yet
                history = member.run.history.load()
                test_f1 = member.run.metrics.load()["segmentation_2px"]["f1"]
        rows.append(
            {
                "member": member.label or member.run.name,
                "epoch": f"{len(history)}/{member.params.epochs}",
                "val F1": history["val_f1"].max(),
                "test F1": test_f1,
                "state": states[member.label],
            }
        )
    return pd.DataFrame(rows)


def printer(members: list[Member]) -> Callable[[dict[str, str]], None]:
    """A function that shows the states: a terminal shows one table, redrawn in place; elsewhere each change is a line."""
    shown: dict[str, str] = {}
    drawn = 0

    def show(states: dict[str, str]) -> None:
        nonlocal drawn
        if not sys.stdout.isatty():
            if not shown:
                print(f"finished before: {sum(state == 'finished' for state in states.values())}", flush=True)
            for label in [label for label, state in states.items() if shown and shown[label] != state]:
                print(f"{label or members[0].run.name}: {states[label]}", flush=True)
            shown.update(states)
            return
        lines = fitted(progress_table(members, states), *shutil.get_terminal_size())
        print(f"\x1b[{drawn}A\x1b[J" * bool(drawn) + "\n".join(lines), flush=True)
        drawn = len(lines)

    return show


def fitted(table: pd.DataFrame, columns: int, lines: int) -> list[str]:
    """A progress table as lines that fit a terminal of this size. The first line counts the states.

    If there are more members than lines, only running and failed members have a line.
    """
    counts = table["state"].str.partition(":")[0].value_counts()
    head = ", ".join(f"{count} {state}" for state, count in counts.items())
    if len(table) + 2 >= lines:
        table = table[table["state"].str.match("running|failed")].head(max(1, lines - 4))
    text = text_of(table).splitlines() if len(table) else []
    return [line[: columns - 1] for line in (head, *text)]


def text_of(table: pd.DataFrame) -> str:
    """A progress table as text."""
    return table.to_string(index=False, na_rep="", float_format="{:.4f}".format)
