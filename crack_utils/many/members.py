"""The members of a configuration file: one run, or all runs of a sweep.

A configuration is a sweep if it has the key ``sweep`` with at least one of ``grid`` (parameter: list of values, every combination),
``members`` (name: parameters, instead of a grid) and ``seeds`` (a list). All members share the parameters beside ``sweep``.
"""

import dataclasses
import itertools
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crack_utils.config import RunParameters, check_names, check_run_name, parse_parameters, read_yaml, resolve_folders
from crack_utils.errors import ParameterError
from crack_utils.store import SHIPPED, Run, home


@dataclasses.dataclass(frozen=True)
class Member:
    """One run of a configuration file. ``label`` is empty if the file is not a sweep."""

    label: str
    run: Run
    params: RunParameters


def read_members(path: Path | str, overrides: list[list[str]] | None = None) -> list[Member]:
    """The members of a configuration file.

    The file's name is its path under ``runs/`` without the suffix (elsewhere: the file's own name), unless an override gives a
    ``run_name``. The members of a sweep are in a folder of that name. Relative folders in the file are relative to the repository,
    those in an override to the current folder. Overrides win over the file.

    Raises:
        ParameterError: names the wrong value and the member.
    """
    path = Path(path)
    if not path.is_file() and (SHIPPED / path).is_file():
        path = SHIPPED / path
        print(f"The configuration is the one that the program brings along: {path}", file=sys.stderr)
    values = resolve_folders(read_yaml(path), base=home())
    given: dict[str, Any] = {name: None if value in ("None", "null") else value for name, value in overrides or []}
    name = check_run_name(given.pop("run_name", _name_of(path.resolve().with_suffix(""))))
    given = resolve_folders(given)
    if "sweep" not in values:
        return [Member("", Run(name), parse_parameters(values | given))]
    combinations = _combinations(values.pop("sweep"), path)
    swept = [key for _, differing in combinations for key in differing if key in given]
    if swept:
        raise ParameterError(f"the sweep {path} varies {swept[0]}; override another parameter, or edit the file")
    members = [_member(name, label, values | differing | given) for label, differing in combinations]
    first: dict[tuple[str | None, ...], str] = {}
    for member in members:
        params = member.params
        same = first.setdefault((params.fingerprint(), params.record_run, params.data_root, params.negatives_root), member.label)
        if same != member.label:
            raise ParameterError(f"sweep in {path}: {same} and {member.label} have the same parameters; list every value once")
    return members


def _name_of(file: Path) -> str:
    homes = [folder for folder in ((home() / "runs").resolve(), SHIPPED / "runs") if file.is_relative_to(folder)]
    return file.relative_to(homes[0]).as_posix() if homes else file.name


def _member(sweep_name: str, label: str, values: dict[str, Any]) -> Member:
    try:
        return Member(label, Run(f"{sweep_name}/{label}"), parse_parameters(values))
    except ParameterError as error:
        raise ParameterError(f"member {label}: {error}") from None


def _combinations(sweep: Any, path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Label and differing parameters of each member."""
    grid, members, seeds = _checked(sweep, path)
    named = [(str(label), values or {}) for label, values in members.items()] or [
        ("_".join(f"{name}-{value}" for name, value in zip(grid, values, strict=True)), dict(zip(grid, values, strict=True)))
        for values in itertools.product(*grid.values())
    ]
    found = [
        (re.sub(r"[^\w.+-]+", "-", "_".join(part for part in (label, *at) if part)), values | seed)
        for label, values in named
        for at, seed in ([((f"seed{number}",), {"seed": number}) for number in seeds] or [((), {})])
    ]
    for label, times in Counter(label for label, _ in found).items():
        if times > 1:
            raise ParameterError(f"sweep in {path}: {times} members would be called {label}; list every value once, or name the members")
    return found


def _checked(sweep: Any, path: Path) -> tuple[dict[str, list], dict[str, dict | None], list]:
    """Grid, members and seeds of a sweep."""
    if not isinstance(sweep, dict) or not sweep:
        raise ParameterError(f"sweep in {path}: should hold grid, members or seeds, got {sweep!r}")
    check_names(sweep, ("grid", "members", "seeds"), f"key of sweep in {path}:")
    grid, members, seeds = (
        empty if sweep.get(key) is None else sweep[key] for key, empty in (("grid", {}), ("members", {}), ("seeds", []))
    )
    if grid and members:
        raise ParameterError(f"sweep in {path}: give grid or members, not both")
    if not isinstance(grid, dict) or not all(isinstance(values, list) and values for values in grid.values()):
        raise ParameterError(f"sweep in {path}: grid should hold 'parameter: [value, ...]' lines, got {grid!r}")
    if not isinstance(members, dict) or not all(isinstance(values, dict | None) for values in members.values()):
        raise ParameterError(f"sweep in {path}: members should hold 'name: {{parameter: value}}' lines, got {members!r}")
    if not isinstance(seeds, list):
        raise ParameterError(f"sweep in {path}: seeds should be a list such as [101, 102], got {seeds!r}")
    if not (grid or members or seeds):
        raise ParameterError(f"sweep in {path}: the sweep has no members; give grid, members or seeds")
    if seeds and any("seed" in values for values in (grid, *(each or {} for each in members.values()))):
        raise ParameterError(f"sweep in {path}: the sweep has both seed and seeds; give one of them")
    return grid, members, seeds


def pick_member(path: Path | str, overrides: list[list[str]] | None = None, label: str | None = None) -> Member:
    """The only run of a configuration file, or the member of a sweep with this label.

    Raises:
        ParameterError: there is no such member, or a sweep needs a label.
    """
    members = {member.label: member for member in read_members(path, overrides)}
    if label is None and "" not in members:
        raise ParameterError(
            f"{path} is a sweep of {len(members)} runs: use the command sweep, or --member with one of {', '.join(members)}"
        )
    if label is not None and "" in members:
        raise ParameterError(f"{path} is one run, not a sweep: leave --member out")
    if label is not None:
        check_names([label], members, "member")
    return members[label or ""]


def member_command(path: str, overrides: list[list[str]], pages: bool, overwrite: bool = False) -> Callable[[Member], list[str]]:
    """The command line that runs one member of a file, here or as the job of a cluster."""

    def command(member: Member) -> list[str]:
        words = [sys.executable, "-m", "crack_utils", "run", path, *(["--member", member.label] if member.label else [])]
        words += [word for pair in overrides for word in ("-p", *pair)]
        return words + ["--no-pages"] * (not pages) + ["--overwrite"] * overwrite

    return command
