"""What may go wrong outside, as messages for people: one table from exception to text and exit code."""

from __future__ import annotations

from typing import Final

from holdfast_gateway.broker.embedded import EmbeddedServerError
from holdfast_gateway.listen import CannotListen
from holdfast_gateway.ports import SourceUnavailable

USAGE: Final = 2
UNAVAILABLE: Final = 69
ADDRESS: Final = 71
INCOMPATIBLE: Final = 78


class Failure(Exception):
    """Ends a command with a message and an exit code."""

    def __init__(self, message: str, code: int) -> None:
        self.code = code
        super().__init__(message)


def failure_of(error: BaseException) -> Failure | None:
    """What to tell about this error; None for a fault of ours, which deserves its traceback."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, CannotListen):
        return Failure(str(error), ADDRESS)
    if isinstance(error, SourceUnavailable):
        return Failure(str(error), UNAVAILABLE)
    if isinstance(error, EmbeddedServerError):
        return Failure(str(error), UNAVAILABLE)
    if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        return failure_of(error.exceptions[0])
    return None
