"""Configuration files, and the folders that parameters name."""

from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from crack_utils.errors import ParameterError

FOLDERS = ("data_root", "negatives_root")  # parameters that name folders


class _Loader(yaml.SafeLoader):
    """Refuses a key that appears twice. YAML itself would silently take the last one."""

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        for key, times in Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)).items():
            if times > 1:
                raise yaml.YAMLError(f"{key} appears twice (line {node.start_mark.line + 1} and after)")
        return node


def read_yaml(path: Path) -> dict[str, Any]:
    """The values in a configuration file.

    Raises:
        ParameterError: the file is missing, or does not hold ``name: value`` lines.
    """
    path = Path(path)
    if not path.is_file():
        raise ParameterError(f"no configuration {path}; run configurations are YAML files such as runs/sample.yaml")
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ParameterError(f"{path} is not readable as YAML: {' '.join(str(error).split())}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ParameterError(f"{path} must hold 'name: value' lines, not {values!r}")
    return values


def resolve_folders(values: dict[str, Any], base: Path | None = None) -> dict[str, Any]:
    """Make the folders among parameter values absolute. Relative folders are relative to ``base``, by default the current folder."""
    resolved = dict(values)
    for name in FOLDERS:
        value = resolved.get(name)
        if isinstance(value, str | int | float) and not isinstance(value, bool) and value != "":
            try:
                resolved[name] = str((base or Path.cwd()).joinpath(Path(str(value)).expanduser()).resolve())
            except (RuntimeError, ValueError, OSError) as error:
                raise ParameterError(f"{name}: {value!r} is not the name of a folder ({error}); correct the path") from None
    return resolved
