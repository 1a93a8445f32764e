"""The run parameters: one typed, frozen, validated object."""

import contextlib
import dataclasses
import difflib
import hashlib
import json
import re
from typing import Any, Literal, get_args

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic.dataclasses import dataclass

from crack_utils.errors import ParameterError

UNIDENTIFYING = ("device", "num_workers", "mm_per_px", "record_run")  # where a run is computed and what it is set beside, not what it is
DATASETS = Literal["sample", "crack500", "crackforest", "deepcrack", "merged", "folder"]
ARCHITECTURES = Literal["segdecnet", "segdecnet++", "segdecnet-jim", "unet", "segformer"]
AUGMENTATIONS = ("horizontal_flip", "vertical_flip", "rotation", "color_jitter")
HARD_BATCHES = re.compile(r"(\d+) of (\d+)(?:, min (0?\.\d+))?")
SCHEDULE = re.compile(r"cosine|step [1-9]\d* (0?\.\d*[1-9]\d*|1|1\.0+)")


def parameter(default: Any, help: str, **limits: Any) -> Any:
    """A dataclass field whose help text also stands in the notebooks."""
    return Field(default, description=help, **limits)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", coerce_numbers_to_str=True, allow_inf_nan=False))
class RunParameters:
    """All that decides a run. Defaults are those of the published run the report re-creates.

    Raises:
        pydantic.ValidationError: a value of the wrong type or out of range; :func:`parse_parameters` words it for people.
    """

    dataset: DATASETS = parameter("sample", "sample (drawn by a program), crack500, crackforest, deepcrack, merged or folder")
    data_root: str | None = parameter(None, "folder of the data set; the sample needs none")
    negatives_root: str | None = parameter(None, "folder of crack-free images, or with train, val, test; default: negatives in data_root")
    input_width: int | None = parameter(None, "pixels, divisible by 8; default: the data set's own", ge=8)
    input_height: int | None = parameter(None, "pixels, divisible by 8; default: the data set's own", ge=8)
    input_channels: Literal[1, 3] = parameter(3, "3 for colour, 1 for grey")
    images_per_split: int | None = parameter(None, "for trials: use only so many images of each split, drawn by photo", ge=2)
    split_seed: int = parameter(0, "draws trials, and splits where the data set has none; by photo", ge=0, le=2**32 - 1)
    photo_disjoint: bool = parameter(False, "keep photos that are in several splits only in test, else in val")
    use_negatives: bool = parameter(True, "train on the crack-free images too")
    train_negatives: int | None = parameter(None, "use at most so many crack-free images for training, drawn by photo", ge=1)
    evaluate_negatives: bool | None = parameter(None, "add crack-free images to val and test; default: only for the sample")
    architecture: ARCHITECTURES = parameter("segdecnet", "segdecnet, segdecnet++, segdecnet-jim, unet or segformer")
    encoder: str | None = parameter(None, "encoder of unet (default: resnet34) or segformer (default: mit_b1)")
    pretrained: bool = parameter(False, "start the encoder of unet or segformer from ImageNet weights, fetched when first needed")
    batch_size: int = parameter(1, "images in a training step", ge=1)
    epochs: int = parameter(100, "passes over the training images", ge=1)
    learning_rate: float = parameter(0.001, "step size of the optimizer", gt=0)
    scheduler: str | None = parameter(None, "step N FACTOR (times FACTOR every N epochs) or cosine; default: constant")
    warmup_epochs: int = parameter(0, "raise the learning rate linearly over so many epochs first", ge=0)
    decision_loss: bool = parameter(True, "train the decision too")
    delta_cls_loss: float = parameter(0.01, "weight of the decision loss", ge=0)
    dilate: int = parameter(1, "widen training masks by a square of so many pixels; 1 leaves them", ge=1)
    dynamically_balanced_loss: bool = parameter(True, "move the weight from segmentation to decision during training")
    gradient_flow_adjustment: bool = parameter(True, "keep the decision loss out of the encoder and the segmentation")
    frequency_of_use_sampling: bool = parameter(False, "each epoch as many crack-free images as cracked, little-used ones first")
    weighted_segmentation_loss: bool = parameter(False, "weigh crack pixels by their distance to the crack's edge")
    w_max: float = parameter(3.0, "weighted segmentation loss: weight in the middle of a crack", gt=0)
    w_power: float = parameter(2.0, "weighted segmentation loss: power of the distance, p", ge=0)
    positive_weights: bool = parameter(False, "weigh crack pixels and cracked images by their rarity in train")
    use_best_model: bool = parameter(True, "evaluate the best validated weights, else the last")
    best_model_type: Literal["seg", "dec", "both"] = parameter("seg", "best by val: seg (2-pixel F1), dec (decision AP) or both")
    validate: bool = parameter(True, "validate while training")
    validation_n_epochs: int = parameter(5, "validate after epochs 1, 1+n, 1+2n, ... and the last", ge=1)
    validate_on_test: bool = parameter(False, "choose checkpoint and thresholds on test: figures no longer independent")
    augmentation: bool = parameter(True, "flip, turn and recolour training images with a crack")
    augmentation_parts: str = parameter(" ".join(AUGMENTATIONS), "which, separated by spaces")
    optimizer: Literal["adam", "adamw", "sgd"] = parameter("adam", "adam, adamw or sgd")
    momentum: float = parameter(0.0, "momentum of sgd", ge=0, lt=1)
    weight_decay: float | None = parameter(None, "weight decay of the optimizer; default: 0.01 for adamw, else 0", ge=0)
    hard_negative_mining: float | str = parameter(0.2, "train this share of the images, the hardest, twice an epoch; or k of b; 0: off")
    hard_negative_difficulty: Literal["loss", "loss_errors"] = parameter("loss", "segmentation loss, or that times (2 FP + FN + 1)")
    blackening: bool = parameter(False, "empty the predicted mask of test images decided crack-free")
    lowered_threshold: bool = parameter(False, "where decided cracked but empty, try 0.9 of the threshold")
    mm_per_px: float | None = parameter(None, "side of a pixel on the road in mm, to give lengths and widths in mm", gt=0)
    record_run: str | None = parameter(None, "published run to show beside this one, such as run6_6")
    seed: int = parameter(0, "the same seed gives the same run on a CPU", ge=0, le=2**32 - 1)
    device: str = parameter("auto", "auto, cpu, cuda, cuda:N or mps; auto takes cuda, then mps, then cpu")
    num_workers: int = parameter(0, "processes that load images beside the training; 0: none", ge=0)

    @field_validator("*", mode="before")
    @classmethod
    def _tidy(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool) and bool not in (cls.__annotations__[info.field_name], *get_args(cls.__annotations__[info.field_name])):
            raise ValueError("takes no True or False")
        if info.field_name == "input_channels" and str(value).isdecimal():
            return int(value)
        if info.field_name in ("optimizer", "architecture"):
            value = str(value).lower()  # the write-up spells it Adam
        if info.field_name == "hard_negative_mining":
            with contextlib.suppress(TypeError, ValueError):
                value = float(value)
        if info.field_name == "augmentation_parts" and value == "":
            raise ValueError(f"should be some of {', '.join(AUGMENTATIONS)}; for none set augmentation to False")
        return None if value == "" else value

    @field_validator("hard_negative_mining")
    @classmethod
    def _share_or_hard_batches(cls, value: float | str) -> float | str:
        if isinstance(value, float) and not 0 <= value <= 1:
            raise ValueError("should be a share from 0 to 1, such as 0.2")
        if isinstance(value, str) and not HARD_BATCHES.fullmatch(value):
            raise ValueError("should be a share such as 0.2, or 'k of b' such as '5 of 10, min 0.1'")
        return value

    @field_validator("scheduler")
    @classmethod
    def _known_schedule(cls, value: str | None) -> str | None:
        if value is not None and not SCHEDULE.fullmatch(value):
            raise ValueError("should be cosine, or 'step N FACTOR' with FACTOR above 0 and up to 1, such as 'step 5 0.95'")
        return value

    @field_validator("augmentation_parts")
    @classmethod
    def _known_parts(cls, value: str) -> str:
        for part in value.replace(",", " ").split():
            if part not in AUGMENTATIONS:
                raise ValueError(f"should be some of {', '.join(AUGMENTATIONS)}")
        return " ".join(value.replace(",", " ").split())

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
        if self.hard_batches and not (0 < self.hard_batches[0] < self.hard_batches[1] == self.batch_size):
            raise ValueError(f"hard_negative_mining {self.hard_negative_mining!r} needs k below b, and b as batch_size {self.batch_size}")
        if self.warmup_epochs and self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs {self.warmup_epochs} must be below epochs {self.epochs}")
        if self.best_model_type != "seg" and not self.decision_loss:
            raise ValueError(
                f"best_model_type {self.best_model_type} goes by the decision, which decision_loss False leaves untrained; use seg"
            )
        if (self.blackening or self.lowered_threshold) and not self.decision_loss:
            raise ValueError("blackening and lowered_threshold go by the decision, which decision_loss False leaves untrained")
        if (self.encoder or self.pretrained) and self.architecture.startswith("segdecnet"):
            raise ValueError(f"encoder and pretrained are for unet and segformer; {self.architecture} has an encoder of its own")
        return self

    @property
    def hard_batches(self) -> tuple[int, int, float] | None:
        """k, b and the least share of the hard set, where hard negative mining has the form "k of b"."""
        match = HARD_BATCHES.fullmatch(str(self.hard_negative_mining))
        return (int(match[1]), int(match[2]), float(match[3] or 0.1)) if match else None

    @property
    def choosing_split(self) -> str:
        """The split that chooses checkpoint and thresholds."""
        return "test" if self.validate_on_test else "val"

    @property
    def chooses_checkpoint(self) -> bool:
        """Whether validations choose the weights that are evaluated; else these are the last."""
        return self.validate and self.use_best_model

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
        """Eight hexadecimal digits that differ where runs differ (UNIDENTIFYING left out)."""
        kept = {name: value for name, value in self.given().items() if name not in UNIDENTIFYING}
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:8]

    def differences(self, other: "RunParameters") -> dict[str, tuple[Any, Any]]:
        """Parameters (UNIDENTIFYING left out) whose values differ, with both values."""
        mine, theirs = self.as_dict(), other.as_dict()
        return {name: (mine[name], theirs[name]) for name in mine if name not in UNIDENTIFYING and mine[name] != theirs[name]}


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


def check_names(values: dict[str, Any], known: Any, what: str = "parameter") -> None:
    """Raise ParameterError for a name that is not known, with the nearest that is."""
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known)}"
            raise ParameterError(f"unknown {what} {name}{hint}")


def _in_words(detail: dict[str, Any]) -> str:
    message = detail["msg"].removeprefix("Value error, ")
    if not detail["loc"]:
        return message
    name = detail["loc"][0]
    message = message.removeprefix("Input ").replace("a valid boolean, unable to interpret input", "True or False")
    return f"{name}: {message}, got {detail['input']!r}"
