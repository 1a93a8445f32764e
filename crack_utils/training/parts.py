"""The functions that a training is made of."""

import dataclasses
from collections.abc import Callable, Mapping

from crack_utils.networks import build_model
from crack_utils.training.losses import TERMS, Term
from crack_utils.training.step import measure_step, train_step
from crack_utils.training.validation import validate


@dataclasses.dataclass(frozen=True)
class Parts:
    """The functions that a training is made of. Hand in another function to try this function."""

    build_model: Callable = build_model
    terms: Mapping[str, Term] = dataclasses.field(default_factory=lambda: TERMS)
    step: Callable = train_step
    validate: Callable = validate
    measure: Callable = measure_step
