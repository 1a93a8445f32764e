"""Names and values, as people write them, become run parameters."""

import difflib
import math
import numbers
from collections.abc import Collection, Iterable
from typing import Any

from pydantic import TypeAdapter, ValidationError

from crack_utils.config.parameters import PARAMETER_HELP, RunParameters
from crack_utils.errors import ParameterError


def parse_parameters(values: dict[str, Any]) -> RunParameters:
    """Validate names, types and ranges. Texts such as ``"1e-4"`` and ``"true"`` become numbers and switches.

    Raises:
        ParameterError: the message names each wrong parameter, its value and the fix.
    """
    check_names(values, PARAMETER_HELP)
    try:
        return TypeAdapter(RunParameters).validate_python(values)
    except ValidationError as error:
        raise ParameterError("; ".join(_in_words(detail) for detail in error.errors())) from None


def check_names(names: Iterable[str], known: Collection[str], what: str = "parameter") -> None:
    """Raise ParameterError for an unknown name, with the nearest known one."""
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known)}"
            raise ParameterError(f"unknown {what} {name}{hint}")


def plain(value: Any) -> str:
    """A value as text: six significant digits, seven for numbers close to 1, whole numbers as they are."""
    is_fraction = isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral)
    if value is None or (is_fraction and math.isnan(value)):
        return "none"
    if is_fraction:
        return f"{value:.7g}" if 0.999 < value < 1 else f"{value:.6g}"
    return str(value)


def _in_words(detail: dict[str, Any]) -> str:
    message = detail["msg"].removeprefix("Value error, ")
    if not detail["loc"]:
        return message
    message = message.removeprefix("Input ").replace("a valid boolean, unable to interpret input", "True or False")
    return f"{detail['loc'][0]}: {message}, got {detail['input']!r}"
