"""The run parameters: one typed, frozen, validated object, made from names and values as people write them."""

import dataclasses
import hashlib
import json
from typing import Any, Literal, get_args

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic.dataclasses import dataclass

from crack_utils.config import checks
from crack_utils.config.choices import AUGMENTATIONS, DATASETS, ENCODERS, NETWORKS, listing
from crack_utils.errors import ParameterError


def parameter(default: Any, help: str, is_data: bool = False, identifies: bool = True, **limits: Any) -> Any:
    """A field of :class:`RunParameters`, with pydantic's ``limits`` (``ge``, ``gt``, ``le``, ``lt``).

    Args:
        help: one line without #; the notebooks' parameter cells, papermill and docs/parameters.md show it.
        is_data: the parameter decides which images a run uses. ``explore.ipynb`` has this parameter too.
        identifies: the parameter changes the result; runs with different values are different runs.
    """
    return Field(default, description=help, json_schema_extra={"is_data": is_data, "identifies": identifies}, **limits)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", coerce_numbers_to_str=True, allow_inf_nan=False))
class RunParameters:
    """Everything that decides a run. The defaults are those of the published run that the report re-creates."""

    dataset: Literal[DATASETS] = parameter("sample", listing(DATASETS).replace("sample", "sample (drawn)", 1), is_data=True)
    data_root: str | None = parameter(None, "folder of the data set; the sample needs none", is_data=True, identifies=False)
    negatives_root: str | None = parameter(
        None,
        "folder of crack-free images, may have folders train, val, test; default: negatives in data_root",
        is_data=True,
        identifies=False,
    )
    input_width: int | None = parameter(None, "input width in pixels, divisible by 8; default: commonest in train", ge=8, is_data=True)
    input_height: int | None = parameter(None, "input height in pixels, divisible by 8; default: commonest in train", ge=8, is_data=True)
    input_channels: Literal[1, 3] = parameter(3, "3 for colour, 1 for grey", is_data=True)
    images_per_split: int | None = parameter(None, "trial: at most this many images of each split, photo by photo", ge=2, is_data=True)
    split_seed: int = parameter(0, "chooses the photos of missing splits, trials and train_negatives", ge=0, le=2**32 - 1, is_data=True)
    photo_disjoint: bool = parameter(False, "keep each photo in one split only: in test if test has it, else in val", is_data=True)
    use_negatives: bool = parameter(True, "also train on crack-free images", is_data=True)
    train_negatives: int | None = parameter(None, "train on at most this many crack-free images, chosen photo by photo", ge=1, is_data=True)
    evaluate_negatives: bool | None = parameter(None, "add crack-free images to val and test; default: only for the sample", is_data=True)
    mask_crack: str = parameter(
        "auto",
        "mask pixels that are crack: auto, bright, dark, alpha, values such as 1 or 1 3, or a colour such as ff0000",
        is_data=True,
    )
    on_bad_data: Literal["stop", "skip"] = parameter("stop", "files that cannot be used: stop the run, or skip them", is_data=True)
    architecture: Literal[tuple(NETWORKS)] = parameter("segdecnet", listing(NETWORKS))
    encoder: str | None = parameter(None, "encoder of " + listing(f"{name} (default: {encoder})" for name, encoder in ENCODERS.items()))
    pretrained: bool = parameter(False, "start the encoder from ImageNet weights, which are downloaded once")
    batch_size: int = parameter(1, "images in a training step", ge=1)
    epochs: int = parameter(100, "passes over the training images", ge=1)
    learning_rate: float = parameter(0.001, "step size of the optimizer", gt=0)
    scheduler: str | None = parameter(None, "learning rate: step N FACTOR (times FACTOR every N epochs) or cosine; default: constant")
    warmup_epochs: int = parameter(0, "first raise the learning rate linearly over this many epochs", ge=0)
    decision_loss: bool = parameter(True, "also train the decision whether an image has a crack")
    delta_cls_loss: float = parameter(0.01, "weight of the decision loss", ge=0)
    dilate: int = parameter(1, "widen the cracks in training masks by a square of this many pixels; 1: no change", ge=1)
    dynamically_balanced_loss: bool = parameter(True, "move the weight from segmentation to decision during training")
    gradient_flow_adjustment: bool = parameter(True, "keep the decision loss out of the encoder and the segmentation")
    frequency_of_use_sampling: bool = parameter(False, "each epoch trains on as many crack-free as cracked images, the least used first")
    weighted_segmentation_loss: bool = parameter(False, "weigh crack pixels by their distance to the crack's edge")
    w_max: float = parameter(3.0, "weighted segmentation loss: weight in the middle of a crack", gt=0)
    w_power: float = parameter(2.0, "weighted segmentation loss: exponent p of the distance", ge=0)
    positive_weights: bool = parameter(False, "weigh crack pixels and cracked images by their rarity in train")
    use_best_model: bool = parameter(True, "evaluate the weights with the best validation; False: the last weights")
    best_model_type: Literal["seg", "dec", "both"] = parameter(
        "seg", "score that chooses the best weights: seg (2-pixel F1), dec (average precision of the decision) or both"
    )
    validate: bool = parameter(True, "validate during training")
    validation_n_epochs: int = parameter(5, "validate after epochs 1, 1+n, 1+2n, ... and the last", ge=1)
    validate_on_test: bool = parameter(False, "choose checkpoint and thresholds on test, which makes the figures too good", is_data=True)
    augmentation: bool = parameter(True, "flip, rotate and recolour training images with a crack")
    augmentation_parts: str = parameter(" ".join(AUGMENTATIONS), "parts of the augmentation, separated by spaces")
    optimizer: Literal["adam", "adamw", "sgd"] = parameter("adam", "adam, adamw or sgd")
    momentum: float = parameter(0.0, "momentum of sgd", ge=0, lt=1)
    weight_decay: float | None = parameter(None, "weight decay of the optimizer; default: 0.01 for adamw, else 0", ge=0)
    hard_negative_mining: float | str = parameter(
        0.2, "train twice on this share of images, the hardest; or 'k of b': k hard images in each batch of b; 0: off"
    )
    hard_negative_difficulty: Literal["loss", "loss_errors"] = parameter(
        "loss", "what makes an image hard: loss (segmentation loss) or loss_errors (loss times (2 FP + FN + 1))"
    )
    blackening: bool = parameter(False, "empty the predicted mask of test images that the decision calls crack-free")
    lowered_threshold: bool = parameter(False, "use 0.9 of the threshold if the decision says cracked but the predicted mask is empty")
    mm_per_px: float | None = parameter(None, "side of a pixel on the road in mm, to give lengths and widths in mm", gt=0, identifies=False)
    record_run: str | None = parameter(None, "published run to show beside this one, such as run6_6", identifies=False)
    seed: int = parameter(0, "seed of the training; on a CPU, the same seed and number of threads give the same run", ge=0, le=2**32 - 1)
    device: str = parameter("auto", "auto, cpu, cuda, cuda:N or mps; auto takes cuda, then mps, then cpu", identifies=False)
    precision: Literal["auto", "fp32", "tf32", "bf16"] = parameter(
        "auto", "auto, fp32, tf32 or bf16; auto takes bf16 on a CUDA GPU that is fast in it, and else fp32"
    )
    compile_network: bool = parameter(False, "train with a network compiled by torch.compile; needs a C++ compiler, not tried on a GPU")
    changed_data: bool = parameter(False, "go on with a run although the files of its data set have changed", identifies=False)
    num_workers: int = parameter(0, "extra processes that load images; 0: none", ge=0, identifies=False)
    processes: int = parameter(1, "processes that train together and share each batch, one on each GPU", ge=1, identifies=False)

    @field_validator("*", mode="before")
    @classmethod
    def _tidy(cls, value: Any, info: ValidationInfo) -> Any:
        kind = cls.__annotations__[info.field_name]
        return checks.tidy(info.field_name, value, takes_bool=bool in (kind, *get_args(kind)))

    @field_validator("*")
    @classmethod
    def _check(cls, value: Any, info: ValidationInfo) -> Any:
        return checks.check(info.field_name, value)

    @model_validator(mode="after")
    def _fits_together(self) -> "RunParameters":
        checks.fits_together(self)
        return self

    @property
    def hard_batches(self) -> tuple[int, int, float] | None:
        """The numbers in a ``hard_negative_mining`` of the form "k of b, min SHARE"; None for any other form.

        Each batch of b images has k hard ones. At least SHARE of the images (0.1 if not given) counts as hard.
        """
        match = checks.HARD_BATCHES.fullmatch(str(self.hard_negative_mining))
        return (int(match[1]), int(match[2]), float(match[3] or 0.1)) if match else None

    @property
    def choosing_split(self) -> str:
        """The split that chooses checkpoint and thresholds."""
        return "test" if self.validate_on_test else "val"

    @property
    def chooses_checkpoint(self) -> bool:
        """Whether validations choose the evaluated weights. Otherwise the last weights are evaluated."""
        return self.validate and self.use_best_model

    @property
    def evaluates_negatives(self) -> bool:
        """Whether crack-free images join val and test."""
        return self.dataset == "sample" if self.evaluate_negatives is None else self.evaluate_negatives

    def as_dict(self) -> dict[str, Any]:
        """All values by name."""
        return dataclasses.asdict(self)

    def given(self) -> dict[str, Any]:
        """The values that differ from the defaults."""
        return {name: value for name, value in self.as_dict().items() if value != PARAMETER_DEFAULTS[name]}

    def fingerprint(self, data_sha256: str | None = None) -> str:
        """Eight hexadecimal digits of the values that identify a run, and of its data unless they are the embedded sample."""
        kept = {name: value for name, value in self.given().items() if name not in UNIDENTIFYING}
        kept |= {"data_sha256": data_sha256} if data_sha256 else {}
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:8]

    def differences(self, other: "RunParameters") -> dict[str, tuple[Any, Any]]:
        """Identifying parameters whose values differ, with both values."""
        mine, theirs = self.as_dict(), other.as_dict()
        return {name: (mine[name], theirs[name]) for name in mine if name not in UNIDENTIFYING and mine[name] != theirs[name]}


_FIELDS = {field.name: field.default for field in dataclasses.fields(RunParameters)}
PARAMETER_HELP = {name: field.description for name, field in _FIELDS.items()}
PARAMETER_DEFAULTS = {name: field.default for name, field in _FIELDS.items()}
DATA_PARAMETERS = tuple(name for name, field in _FIELDS.items() if field.json_schema_extra["is_data"])
# Parameters that do not change the result: where its data lie, where it is computed, and what it is compared with.
UNIDENTIFYING = tuple(name for name, field in _FIELDS.items() if not field.json_schema_extra["identifies"])


def parse_parameters(values: dict[str, Any]) -> RunParameters:
    """Validate names, types and ranges. Texts such as ``"1e-4"`` and ``"true"`` become numbers and switches.

    Raises:
        ParameterError: the message names each wrong parameter, its value and the fix.
    """
    checks.check_names(values, PARAMETER_HELP)
    try:
        return TypeAdapter(RunParameters).validate_python(values)
    except ValidationError as error:
        raise ParameterError("; ".join(_in_words(detail) for detail in error.errors())) from None


def _in_words(detail: dict[str, Any]) -> str:
    message = detail["msg"].removeprefix("Value error, ")
    if not detail["loc"]:
        return message
    message = message.removeprefix("Input ").replace("a valid boolean, unable to interpret input", "True or False")
    return f"{detail['loc'][0]}: {message}, got {detail['input']!r}"
