"""Optional compilation of the module in training, given up with a message where it cannot be done."""

from __future__ import annotations

import logging
import sys

from torch import nn

log = logging.getLogger(__name__)


def is_compiler_error(error: BaseException) -> bool:
    """Tells a failure of torch.compile from an error of the module itself.

    Args:
        error: What was raised.

    Returns:
        True for errors of tracing and of code generation, such as a missing C++ compiler or Triton.
    """
    # Importing the compiler takes a second; where nobody has, nothing of it can have failed.
    compiler = sys.modules.get("torch._dynamo.exc")
    return compiler is not None and isinstance(error, compiler.TorchDynamoException)


def give_up_compiling(module: nn.Module, title: str, error: BaseException) -> None:
    """Lets a compiled module run as it was written.

    Args:
        module: On which `compile()` was called.
        title: Of the run, for the log.
        error: Why.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = " ".join(lines[:2]) or type(error).__name__
    log.warning("%s: torch.compile failed (%s); training goes on without it", title, reason)
    # What Module.compile() sets; torch has no way back for one module.
    module._compiled_call_impl = None
