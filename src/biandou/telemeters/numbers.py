"""Numbers as Java writes them, which is how Linkerd's exporters do."""

from __future__ import annotations

import math
from typing import Final

_PLAIN_FROM: Final = 1e-3
_PLAIN_BELOW: Final = 1e7


def show_float(value: float) -> str:
    """Give `1.0`, `1.2E8`; what is not a number, or not finite, as Prometheus writes it (`NaN`, `+Inf`)."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0 or _PLAIN_FROM <= abs(value) < _PLAIN_BELOW:
        # repr has no exponent in this range.
        return repr(float(value))
    sign, digits, exponent = _digits(value)
    return f"{sign}{digits[0]}.{digits[1:] or '0'}E{exponent}"


def _digits(value: float) -> tuple[str, str, int]:
    """Take the shortest digits that mean `value`, and the power of ten of the first."""
    mantissa, _, power = repr(abs(float(value))).partition("e")
    whole, _, fraction = mantissa.partition(".")
    shift = int(power or 0) + len(whole) - 1
    digits = (whole + fraction).rstrip("0")
    leading = len(digits) - len(digits.lstrip("0"))
    return "-" if value < 0 else "", digits.lstrip("0"), shift - leading
