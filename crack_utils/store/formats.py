"""params.json and metrics.json: the files whose contents the pages need."""

from pathlib import Path
from typing import Any

from crack_utils.config import FOLDERS, PARAMETER_DEFAULTS, UNIDENTIFYING, RunParameters, parse_parameters, resolve_folders
from crack_utils.store.files import FORMAT, Json, check_format, home, reading

FACTS = ("counts", "title", "test_title", "drawn", "notes", "input_height", "input_width")  # every params.json has these of its data
FIGURES = (  # every metrics.json has these
    *("decision", "segmentation_2px", "crack_free", "val", "decision_ranking", "protocols"),
    *("intervals", "without_leaks", "engineering", "failures"),
)


class Parameters(Json):
    """The run's parameters and the facts of its data."""

    def save(self, params: RunParameters, resolved: dict[str, Any], facts: dict[str, Any]) -> None:
        """Write the file: ``params`` as given, the values used instead of defaults such as "auto" (``resolved``), and the data's facts.

        Folders in the home folder are written relative to it. A run can be moved together with its data.
        """
        name, given = self.path.parent.relative_to(home() / "runs").as_posix(), portable(params.as_dict())
        super().save({"format": FORMAT, "run_name": name, **given, **resolved, "given": given, "data": facts})

    def update(self, params: RunParameters) -> None:
        """Take over the parameters that do not change the result, such as ``mm_per_px``."""
        values, changed = self.resolved(), _unidentifying(params)
        super().save(values | changed | {"device": values["device"], "given": values["given"] | changed})

    def would_change(self, params: RunParameters) -> bool:
        """Whether :meth:`update` would change the file."""
        given = PARAMETER_DEFAULTS | self.resolved()["given"]
        return any(given[name] != value for name, value in _unidentifying(params).items())

    def load(self) -> RunParameters:
        """The parameters as they were given."""
        return parse_parameters(resolve_folders(self.resolved()["given"], home()))

    def resolved(self) -> dict[str, Any]:
        """The whole file. Parameters that a run of an earlier version lacks have their defaults."""
        values = super().load()
        with reading(self.path):
            if not {"given", "data"} <= set(values):
                raise ValueError("the file holds no parameters")
        check_format(self.path, values, FACTS, "train")
        return {**PARAMETER_DEFAULTS, **values}

    def facts(self) -> dict[str, Any]:
        """The facts of the data (see :func:`crack_utils.data.data_facts`)."""
        return self.resolved()["data"]


def portable(values: dict[str, Any]) -> dict[str, Any]:
    """Parameter values, in which a folder inside the home folder is relative to the home folder."""
    kept = dict(values)
    for name in FOLDERS:
        if kept.get(name) and Path(kept[name]).is_relative_to(home().resolve()):
            kept[name] = Path(kept[name]).relative_to(home().resolve()).as_posix()
    return kept


def _unidentifying(params: RunParameters) -> dict[str, Any]:
    """The parameters that do not change the result. A scale and a published run stay as they were where none is given."""
    values = portable(params.as_dict())
    return {name: values[name] for name in UNIDENTIFYING if values[name] is not None or name in FOLDERS}


class Metrics(Json):
    """The figures of the evaluation. The evaluation has finished when this file is there."""

    def save(self, values: dict[str, Any]) -> None:
        super().save({"format": FORMAT, **values})

    def load(self) -> dict[str, Any]:
        values = super().load()
        check_format(self.path, values, FIGURES, "evaluate")
        return values
