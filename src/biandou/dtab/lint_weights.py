"""Finds weights that share otherwise than they look: only their proportion counts, and no weight is the weight 1."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Final

from biandou.dtab.tree import show_weight

TOLERANCE: Final = 0.005
"""0.33, 0.33 and 0.33 are meant as thirds, but 0.9 and 0.2 add up to something."""
NEARLY_PERCENT: Final = (80.0, 120.0)
"""Whole numbers that add up to so much were meant to be 100; 3 and 1 are a proportion."""


def misleading(weights: Sequence[float]) -> str | None:
    """Say in a sentence what is wrong with the weights of one union, `None` if nothing is."""
    total = sum(weights)
    if not total:
        return "All weights are 0: the branches share evenly."
    if not isfinite(total):
        return "The weights are too large to be added up."
    fractions = [weight for weight in weights if 0 < weight < 1]
    shares = f"they share {_percents([weight / total for weight in weights])}"
    if fractions and any(weight > 1 for weight in weights):
        return f"Fractions stand beside weights above 1 ({_shown(weights)}): {shares}."
    if fractions and 1.0 in weights:
        return f"A branch without a weight, or of weight 1, stands beside fractions ({_shown(weights)}): {shares}."
    if fractions and abs(total - 1) > max(TOLERANCE, 0.005 * len(weights)):
        return f"The weights look like parts of 1 but add up to {_number(total)} ({_shown(weights)}): {shares}."
    looks_percent = NEARLY_PERCENT[0] <= total <= NEARLY_PERCENT[1] and max(weights) > 1
    if not fractions and looks_percent and abs(total - 100) > max(TOLERANCE, 0.5 * len(weights)):
        return f"The weights look like percents but add up to {_number(total)} ({_shown(weights)}): {shares}."
    return None


def _shown(weights: Sequence[float]) -> str:
    return ", ".join(map(show_weight, weights[:10])) + (", …" if len(weights) > 10 else "")


def _number(value: float) -> str:
    return show_weight(round(value, 4))


def _percent(share: float) -> str:
    return f"{show_weight(round(share * 100, 1))}%"


def _percents(shares: Sequence[float]) -> str:
    return ", ".join(map(_percent, shares[:10])) + (", …" if len(shares) > 10 else "")
