"""Constructor parameters: what each may be, and an error that says so where it is something else.

An estimator that is fitted again stays as it was where that fails.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np

F = TypeVar("F", bound=Callable)


@dataclass(frozen=True)
class Integer:
    """Integers between two, both included; bools are none."""

    least: int
    most: float = math.inf

    def __contains__(self, value: object) -> bool:
        is_integer = isinstance(value, Integral) and not isinstance(value, (bool, np.bool_))
        return is_integer and self.least <= value <= self.most  # type: ignore[operator]

    def __str__(self) -> str:
        if self.most == math.inf:
            return f"an integer >= {self.least}"
        return f"an integer from {self.least} to {self.most}"


@dataclass(frozen=True)
class Number:
    """Finite numbers between two, which are included where they are closed; bools are none."""

    low: float
    high: float = math.inf
    closed: str = "both"

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, Real) or isinstance(value, (bool, np.bool_)):
            return False
        number = float(value)
        if not math.isfinite(number) or not self.low <= number <= self.high:
            return False
        return (number > self.low or self.closed in ("both", "low")) and (
            number < self.high or self.closed in ("both", "high")
        )

    def __str__(self) -> str:
        above = ">=" if self.closed in ("both", "low") else ">"
        if self.high == math.inf:
            return f"a number {above} {self.low:g}"
        below = "<=" if self.closed in ("both", "high") else "<"
        return f"a number {above} {self.low:g} and {below} {self.high:g}"


def check_given(**given: tuple) -> None:
    """Raise a ValueError that names the first argument that is not what it may be.

    **given: for each its value, then what that may be: an :class:`Integer`, a :class:`Number`, a
        type, or a value such as a string or ``None``.
    """
    for name, (value, *choices) in given.items():
        if not any(_fits(value, choice) for choice in choices):
            shown = repr(value)
            shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
            raise ValueError(f"{name}={shown}; give {' or '.join(map(_say, choices))}.")


def check_parameters(estimator: Any, **allowed: Any) -> None:
    """Do :func:`check_given` with parameters: for each what it may be, or a tuple of such."""
    choices = {name: c if isinstance(c, tuple) else (c,) for name, c in allowed.items()}
    check_given(**{name: (getattr(estimator, name), *c) for name, c in choices.items()})


def _fits(value: Any, choice: Any) -> bool:
    if isinstance(choice, (Integer, Number)):
        return value in choice
    if isinstance(choice, type):
        return isinstance(value, (bool, np.bool_) if choice is bool else choice)
    return isinstance(value, type(choice)) and value == choice


def _say(choice: Any) -> str:
    if isinstance(choice, type):
        return {bool: "True or False", str: "a string"}.get(choice, f"a {choice.__name__}")
    return str(choice) if isinstance(choice, (Integer, Number)) else repr(choice)


def all_or_nothing(fit: F) -> F:
    """Decorate ``fit``: it forgets an earlier fit, or fails and leaves it as it was.

    fit: a method that replaces attributes whose names end in ``_`` and changes none in place.
    """

    @functools.wraps(fit)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = dict(vars(self))
        for name in before:
            if name.endswith("_") and not name.startswith("_"):
                delattr(self, name)
        try:
            return fit(self, *args, **kwargs)
        except BaseException:  # an interruption too
            vars(self).clear()
            vars(self).update(before)
            raise

    return wrapped  # type: ignore[return-value]
