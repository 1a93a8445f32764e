"""Checks of run parameters: names, each value alone, and all together."""

import contextlib
import difflib
import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from crack_utils.config.choices import AUGMENTATIONS, ENCODERS, listing
from crack_utils.errors import ParameterError

if TYPE_CHECKING:
    from crack_utils.config.parameters import RunParameters

HARD_BATCHES = re.compile(r"(\d+) of (\d+)(?:, min (0?\.\d+))?")
SCHEDULE = r"cosine|step [1-9]\d* (0?\.\d*[1-9]\d*|1|1\.0+)"
FORMS = {  # the form of a text, and the error message for other texts
    "device": (r"auto|cpu|mps|cuda(:\d{1,3})?", "should be auto, cpu, mps, cuda or cuda:N"),
    "hard_negative_mining": (HARD_BATCHES, "should be a share such as 0.2, or 'k of b' such as '5 of 10, min 0.1'"),
    "mask_crack": (
        r"auto|bright|dark|alpha|[0-9a-f]{6}|\d{1,5}( \d{1,5})*",
        "should be auto, bright, dark, alpha, values such as 1 or '1 3', or a colour of six hexadecimal digits such as ff0000",
    ),
    "scheduler": (SCHEDULE, "should be cosine, or 'step N FACTOR' with FACTOR above 0 and up to 1, such as 'step 5 0.95'"),
}


def check_names(names: Iterable[str], known: Collection[str], what: str = "parameter") -> None:
    """Raise ParameterError for an unknown name, with the nearest known one."""
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known)}"
            raise ParameterError(f"unknown {what} {name}{hint}")


def tidy(name: str, value: Any, takes_bool: bool) -> Any:
    """Bring a value, as a person or papermill wrote it, to the form that its type expects. An empty text becomes None."""
    if isinstance(value, bool) and not takes_bool:
        raise ValueError("takes no True or False")
    if name == "input_channels" and str(value).isdecimal():
        return int(value)
    if name in ("optimizer", "architecture", "mask_crack"):
        value = str(value).lower().lstrip("#")  # the write-up has Adam
    if name == "mask_crack":
        value = " ".join(value.strip("[]()").replace(",", " ").split())  # a list, as a configuration file may have it
    if name == "hard_negative_mining":
        with contextlib.suppress(TypeError, ValueError):
            value = float(value)
    if name == "augmentation_parts" and value == "":
        raise ValueError(f"should be some of {', '.join(AUGMENTATIONS)}; for none set augmentation to False")
    return None if value == "" else value


def check(name: str, value: Any) -> Any:
    """A value of the right type, as the run keeps the value. Raise ValueError for a value that the parameter cannot have."""
    form, message = FORMS.get(name, (None, None))
    if form and isinstance(value, str) and not re.fullmatch(form, value):
        raise ValueError(message)
    if name == "hard_negative_mining" and isinstance(value, float) and not 0 <= value <= 1:
        raise ValueError("should be a share from 0 to 1, such as 0.2")
    if name in ("input_width", "input_height") and value is not None and value % 8:
        raise ValueError(f"must be divisible by 8; try {value // 8 * 8 or 8} or {value // 8 * 8 + 8}")
    if name == "augmentation_parts":
        value = " ".join(value.replace(",", " ").split())
        if not set(value.split()) <= set(AUGMENTATIONS):
            raise ValueError(f"should be some of {', '.join(AUGMENTATIONS)}")
    return value


def check_input_size(height: int, width: int) -> None:
    """Raise ParameterError if the network's last normalisation would see fewer than two positions."""
    if (height // 64) * (width // 64) < 2:
        raise ParameterError(
            f"input {width} x {height} is too small: floor(width / 64) * floor(height / 64) must be at least 2; "
            f"try {max(128, width)} x {max(64, height)}"
        )


def fits_together(params: "RunParameters") -> None:
    """Raise ValueError for parameters that contradict each other."""
    if params.input_width is not None and params.input_height is not None:
        check_input_size(params.input_height, params.input_width)
    if params.dataset != "sample" and params.data_root is None:
        raise ValueError(f"dataset {params.dataset} needs data_root, the folder that holds the data set (see docs/data.md)")
    hard = params.hard_batches
    if hard and not (0 < hard[0] < hard[1] == params.batch_size):
        raise ValueError(f"hard_negative_mining {params.hard_negative_mining!r} needs k below b, and b = batch_size {params.batch_size}")
    if params.processes > params.batch_size:
        raise ValueError(
            f"processes {params.processes} share a batch, so batch_size {params.batch_size} must be at least {params.processes}"
        )
    if params.warmup_epochs and params.warmup_epochs >= params.epochs:
        raise ValueError(f"warmup_epochs {params.warmup_epochs} must be below epochs {params.epochs}")
    if params.best_model_type != "seg" and not params.decision_loss:
        raise ValueError(f"best_model_type {params.best_model_type} needs a trained decision, but decision_loss is False; use seg")
    if (params.blackening or params.lowered_threshold) and not params.decision_loss:
        raise ValueError("blackening and lowered_threshold need a trained decision, but decision_loss is False")
    if (params.encoder or params.pretrained) and params.architecture not in ENCODERS:
        raise ValueError(f"encoder and pretrained need architecture {listing(ENCODERS)}; {params.architecture} has its own encoder")
