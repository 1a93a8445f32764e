"""The run parameters: one typed, frozen, validated object; load, override, save, describe."""

import dataclasses
import difflib
import hashlib
import json
import re
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic.dataclasses import dataclass

from crack_utils.errors import ParameterError

MACHINE_ONLY = ("device", "num_workers")  # where a run is computed, not what: no part of its identity
RUN_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*(/[A-Za-z0-9][\w.+-]*)*")


def parameter(default: Any, help: str, **limits: Any) -> Any:
    """A dataclass field whose help text also stands in the notebooks."""
    return Field(default, description=help, **limits)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", coerce_numbers_to_str=True, allow_inf_nan=False))
class RunParameters:
    """All that decides a run. Defaults are those of the published run the report re-creates.

    Raises:
        pydantic.ValidationError: a value of the wrong type or out of range; :func:`parse_parameters` words it for people.
    """

    dataset: Literal["sample", "crack500"] = parameter("sample", "sample (drawn by a program) or crack500")
    data_root: str | None = parameter(None, "folder of the data set; the sample needs none")
    negatives_root: str | None = parameter(None, "folder with train, val, test of crack-free images; default: negatives in data_root")
    input_width: int | None = parameter(None, "pixels, divisible by 8; default: the data set's own", ge=8)
    input_height: int | None = parameter(None, "pixels, divisible by 8; default: the data set's own", ge=8)
    input_channels: Literal[1, 3] = parameter(3, "3 for colour, 1 for grey")
    images_per_split: int | None = parameter(None, "for trials: use only so many images of each split, drawn by photo", ge=2)
    use_negatives: bool = parameter(True, "train on the crack-free images too")
    evaluate_negatives: bool | None = parameter(None, "add crack-free images to val and test; default: only for the sample")
    batch_size: int = parameter(1, "images in a training step", ge=1)
    epochs: int = parameter(100, "passes over the training images", ge=1)
    learning_rate: float = parameter(0.001, "step size of the optimizer", gt=0)
    delta_cls_loss: float = parameter(0.01, "weight of the decision loss", ge=0)
    dilate: int = parameter(1, "widen training masks by a square of so many pixels; 1 leaves them", ge=1)
    dynamically_balanced_loss: bool = parameter(True, "move the weight from segmentation to decision during training")
    gradient_flow_adjustment: bool = parameter(True, "keep the decision loss out of the encoder and the segmentation")
    frequency_of_use_sampling: bool = parameter(False, "draw little-used negatives more often (not built yet: only False)")
    weighted_segmentation_loss: bool = parameter(False, "weigh crack pixels by their distance to the edge (not built yet: only False)")
    use_best_model: bool = parameter(True, "evaluate the best validated weights, else the last")
    best_model_type: Literal["seg", "dec", "both"] = parameter("seg", "best by val: seg (2-pixel F1), dec (decision AP) or both")
    validate: bool = parameter(True, "validate while training")
    validation_n_epochs: int = parameter(5, "validate after epochs 1, 1+n, 1+2n, ... and the last", ge=1)
    validate_on_test: bool = parameter(False, "choose checkpoint and thresholds on test (not built yet: only False)")
    augmentation: bool = parameter(True, "flip, turn and recolour training images with a crack")
    optimizer: Literal["adam"] = parameter("adam", "adam")
    hard_negative_mining: float = parameter(0.2, "train so large a part of the images, the hardest, twice an epoch; 0: off", ge=0, le=1)
    seed: int = parameter(0, "the same seed gives the same run on a CPU", ge=0, le=2**32 - 1)
    device: str = parameter("auto", "auto, cpu, cuda, cuda:N or mps; auto takes cuda, then mps, then cpu")
    num_workers: int = parameter(0, "processes that load images beside the training; 0: none", ge=0)

    @field_validator("frequency_of_use_sampling", "weighted_segmentation_loss", "validate_on_test")
    @classmethod
    def _refuse_unbuilt(cls, value: bool) -> bool:
        if value:
            raise ValueError("is not built yet, only False works")
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _tidy(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool) and bool not in (cls.__annotations__[info.field_name], *get_args(cls.__annotations__[info.field_name])):
            raise ValueError("takes no True or False")
        if info.field_name == "input_channels" and str(value).isdecimal():
            return int(value)
        if info.field_name == "optimizer":
            value = str(value).lower()  # the write-up spells it Adam
            if value in ("sgd", "adamw"):
                raise ValueError("is not built yet, only adam works")
        if info.field_name == "hard_negative_mining" and " of " in str(value):
            raise ValueError("the form 'k of b' is not built yet; give a share such as 0.2")
        return None if value == "" else value

    @field_validator("device")
    @classmethod
    def _known_device(cls, value: str) -> str:
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", value):
            raise ValueError("should be auto, cpu, mps, cuda or cuda:N")
        return value

    @field_validator("input_width", "input_height")
    @classmethod
    def _divisible_by_8(cls, value: int | None) -> int | None:
        if value is not None and value % 8:
            raise ValueError(f"must be divisible by 8; try {value // 8 * 8 or 8} or {value // 8 * 8 + 8}")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> "RunParameters":
        if self.input_width is not None and self.input_height is not None:
            check_input_size(self.input_height, self.input_width)
        if self.dataset != "sample" and self.data_root is None:
            raise ValueError(f"dataset {self.dataset} needs data_root, the folder that holds it (see 'Real data' in README.md)")
        return self

    @property
    def evaluates_negatives(self) -> bool:
        """Whether crack-free images join val and test."""
        return self.dataset == "sample" if self.evaluate_negatives is None else self.evaluate_negatives

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def given(self) -> dict[str, Any]:
        """What differs from the defaults."""
        return {name: value for name, value in self.as_dict().items() if value != PARAMETER_DEFAULTS[name]}

    def fingerprint(self) -> str:
        """Eight hexadecimal digits that differ where runs differ (the machine's part left out)."""
        kept = {name: value for name, value in self.as_dict().items() if name not in MACHINE_ONLY}
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:8]

    def differences(self, other: "RunParameters") -> dict[str, tuple[Any, Any]]:
        """Parameters (the machine's part left out) whose values differ, with both values."""
        mine, theirs = self.as_dict(), other.as_dict()
        return {name: (mine[name], theirs[name]) for name in mine if name not in MACHINE_ONLY and mine[name] != theirs[name]}


def check_input_size(height: int, width: int) -> None:
    """Raise ParameterError where the network's last normalisation would see fewer than two positions."""
    if (height // 64) * (width // 64) < 2:
        raise ParameterError(
            f"input {width} x {height} is too small: floor(width / 64) * floor(height / 64) must be at least 2; "
            f"try {max(128, width)} x {max(64, height)}"
        )


PARAMETER_HELP = {field.name: field.default.description for field in dataclasses.fields(RunParameters)}
PARAMETER_DEFAULTS = {field.name: field.default.default for field in dataclasses.fields(RunParameters)}


def parse_parameters(values: dict[str, Any]) -> RunParameters:
    """Validate names, types and ranges; texts such as ``"1e-4"`` and ``"true"`` are understood.

    Raises:
        ParameterError: naming each wrong parameter, its value and the fix.
    """
    check_names(values, PARAMETER_HELP)
    try:
        return TypeAdapter(RunParameters).validate_python(values)
    except ValidationError as error:
        raise ParameterError("; ".join(_in_words(detail) for detail in error.errors())) from None


def check_names(values: dict[str, Any], known: Any) -> None:
    """Raise ParameterError for a name that is not known, with the nearest that is."""
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known)}"
            raise ParameterError(f"unknown parameter {name}{hint}")


def _in_words(detail: dict[str, Any]) -> str:
    message = detail["msg"].removeprefix("Value error, ")
    if not detail["loc"]:
        return message
    name = detail["loc"][0]
    message = message.removeprefix("Input ").replace("a valid boolean, unable to interpret input", "True or False")
    return f"{name}: {message}, got {detail['input']!r}"


def read_yaml(path: Path) -> dict[str, Any]:
    """The overrides a configuration file lists.

    Raises:
        ParameterError: the file is missing, or does not hold ``name: value`` lines.
    """
    path = Path(path)
    if not path.is_file():
        raise ParameterError(f"no configuration {path}; run configurations are YAML files such as runs/sample.yaml")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ParameterError(f"{path} is not readable as YAML: {error}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ParameterError(f"{path} must hold 'name: value' lines, not {values!r}")
    return values


def check_run_name(name: str) -> str:
    """``name`` itself, if it can name a folder under ``runs/``.

    Raises:
        ParameterError: it cannot.
    """
    if not RUN_NAME.fullmatch(name) or ".." in name or name.endswith((".yaml", ".yml")):
        raise ParameterError(f"run_name {name!r}: use letters, digits, '.', '_', '+', '-', with '/' for folders, such as trials/first")
    return name


def resolve_folders(values: dict[str, Any], base: Path | None = None) -> dict[str, Any]:
    """Make the folders among parameter values absolute; relative ones count from ``base``, by default the current folder."""
    resolved = dict(values)
    for name in ("data_root", "negatives_root"):
        value = resolved.get(name)
        if isinstance(value, str | int | float) and not isinstance(value, bool) and value != "":
            try:
                resolved[name] = str((base or Path.cwd()).joinpath(Path(str(value)).expanduser()).resolve())
            except (RuntimeError, ValueError, OSError) as error:
                raise ParameterError(f"{name}: {value!r} is no usable folder ({error})") from None
    return resolved
