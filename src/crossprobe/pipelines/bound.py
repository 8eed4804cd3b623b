"""Node functions that know which arm they were stamped for."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any


def bound(function: Callable[..., Any], **fixed: Any) -> Callable[..., Any]:
    """Fixes keyword arguments of a node function and keeps what Kedro reads from it: name, hints, signature.

    `functools.partial` would lose the type hints, and with them the validation of parameters.

    Args:
        function: The node function.
        fixed: Arguments that a stamped template knows, such as the name of its arm.

    Returns:
        The function without those arguments; they are its attribute `fixed`.

    Raises:
        TypeError: If the function has no such argument.
    """
    signature = inspect.signature(function)
    unknown = set(fixed) - set(signature.parameters)
    if unknown:
        raise TypeError(f"{function.__name__} has no argument {', '.join(sorted(unknown))}")

    @functools.wraps(function)
    def with_fixed(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs, **fixed)

    open_arguments = [value for name, value in signature.parameters.items() if name not in fixed]
    with_fixed.fixed = fixed  # type: ignore[attr-defined]
    with_fixed.__signature__ = signature.replace(parameters=open_arguments)  # type: ignore[attr-defined]
    return with_fixed
