"""Configuration files, the folders that parameters name, and run names."""

import codecs
import re
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from crack_utils.errors import ParameterError

FOLDERS = ("data_root", "negatives_root")  # parameters that name folders
FOLDERS_OF_A_RUN = {"examples", "figures", "predictions"}  # a run has folders of these names inside its own
LONGEST_NAME = 200  # bytes between two slashes; file systems allow 255, and temporary files have longer names than the run
RUN_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*(/[A-Za-z0-9][\w.+-]*)*")


class _Loader(yaml.SafeLoader):
    """Refuses a key that appears twice. YAML itself would silently take the last one."""

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        for key, times in Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)).items():
            if times > 1:
                raise yaml.YAMLError(f"{key} appears twice (line {node.start_mark.line + 1} and after)")
        return node


def read_yaml(path: Path) -> dict[str, Any]:
    """The values in a configuration file. Raise ParameterError if the file is missing, or does not hold ``name: value`` lines."""
    path = Path(path)
    if not path.is_file():
        raise ParameterError(f"no configuration {path}; run configurations are YAML files such as runs/sample.yaml")
    text = _text_of(path)
    try:
        values = yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ParameterError(f"{path} is not readable as YAML: {' '.join(str(error).split())}{_hint(text, error)}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ParameterError(f"{path} must hold 'name: value' lines, not {values!r}")
    return values


def _text_of(path: Path) -> str:
    """The text of a file in UTF-8 or, with a byte order mark, UTF-16, in which Windows programs may save."""
    content = path.read_bytes()
    encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ParameterError(f"{path} is not UTF-8 text (line {line} has other bytes); save it as UTF-8 in your editor") from None


def _hint(text: str, error: Exception) -> str:
    """What to do about frequent mistakes; empty for others."""
    mark = getattr(error, "problem_mark", None)
    line = text.splitlines()[mark.line] if mark and mark.line < len(text.splitlines()) else ""
    if "escape" in str(error):
        return "; inside double quotes \\ has a meaning of its own, so write paths with / or without quotes, such as data_root: C:/data/own"
    if "\t" in line:
        return "; use spaces instead of tabs"
    if mark and any(re.match(r"\w+:\S", each) for each in text.splitlines()[max(0, mark.line - 1) : mark.line + 1]):
        return "; a space is missing after a colon"
    return ""


def resolve_folders(values: dict[str, Any], base: Path | None = None) -> dict[str, Any]:
    """Make the folders among parameter values absolute. Relative folders are relative to ``base``, by default the current folder."""
    resolved = dict(values)
    for name in FOLDERS:
        value = resolved.get(name)
        if isinstance(value, str) and (odd := [letter for letter in value if ord(letter) < 32]):
            seen = f"{name}: the path {value!r} holds the control character {odd[0]!r}"
            raise ParameterError(f"{seen}; inside double quotes YAML reads \\n and \\t so, so write the path with / or without quotes")
        if isinstance(value, str | int | float) and not isinstance(value, bool) and value != "":
            try:
                resolved[name] = str((base or Path.cwd()).joinpath(Path(str(value)).expanduser()).resolve())
            except (RuntimeError, ValueError, OSError) as error:
                raise ParameterError(f"{name}: {value!r} is not the name of a folder ({error}); correct the path") from None
    return resolved


def is_run_name(name: str) -> bool:
    """Whether a run can have this name."""
    return _problem(name) is None


def check_run_name(name: str) -> str:
    """The name itself. Raise ParameterError if a run cannot have this name."""
    if problem := _problem(name):
        raise ParameterError(f"run_name {name!r}: {problem}")
    return name


def _problem(name: str) -> str | None:
    parts = name.split("/")
    if taken := FOLDERS_OF_A_RUN.intersection(parts[1:]):
        return f"a run has a folder of its own called {taken.pop()}; choose another name"
    if max(len(part.encode(errors="replace")) for part in parts) > LONGEST_NAME:
        return f"a part is longer than {LONGEST_NAME} bytes between slashes; shorten the name, or name the members"
    if not RUN_NAME.fullmatch(name) or ".." in name or name.endswith((".yaml", ".yml")):
        return "use letters, digits, '.', '_', '+', '-', with '/' for folders, such as trials/first"
    return None
