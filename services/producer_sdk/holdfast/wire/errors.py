"""What the contract refuses. All are the caller's to mend, so all are `ValueError`s; none is worth a retry."""

from __future__ import annotations

from typing import ClassVar


class HoldfastError(Exception):
    """The root of everything the packages raise on purpose. Anything else that comes out is a bug.

    Attributes:
        anchor: The error's heading in docs/errors.md.
        retryable: Whether the same call may succeed later without anybody mending anything.
    """

    anchor: ClassVar[str] = "holdfasterror"
    retryable: ClassVar[bool] = False

    @property
    def docs(self) -> str:
        """Where the catalogue explains this error."""
        return f"docs/errors.md#{self.anchor}"


class ContractError(HoldfastError, ValueError):
    """Input that the wire contract does not allow. Nothing has been sent when it is raised."""

    anchor = "contracterror"


class InvalidId(ContractError):
    """A session, tenant or run id outside `[A-Za-z0-9_-]{1,128}`."""

    anchor = "invalidid"

    def __init__(self, what: str, value: object) -> None:
        self.what = what
        self.value = value
        shown = value if isinstance(value, str) and len(value) <= 80 else f"{str(value)[:80]}..."
        super().__init__(f"{what} {shown!r} is not usable: 1 to 128 characters of A-Z a-z 0-9 _ - are")


class InvalidCursor(ContractError):
    """A cursor that no gateway ever issued: not `<incarnation>-<sequence>[.<item>]`."""

    anchor = "invalidcursor"

    def __init__(self, value: str) -> None:
        self.value = value
        super().__init__(
            f"cursor {value[:80]!r} is not of the form <incarnation>-<sequence>[.<item>]; "
            "send back an event's id as it came, or none to start over"
        )


class InvalidEventType(ContractError):
    """An SSE event name that is not ours to carry."""

    anchor = "invalideventtype"

    def __init__(self, value: object) -> None:
        self.value = value
        super().__init__(
            f"event type {str(value)[:80]!r} is not usable: 1 to 64 characters of A-Z a-z 0-9 _ . / : @ + - are, "
            "and names that start with 'session.' are reserved"
        )


class EventTooLarge(ContractError):
    """One event over the size limit. Split it, or store it elsewhere and send a reference."""

    anchor = "eventtoolarge"

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes
        super().__init__(
            f"an event of {size_bytes} bytes is over the limit of {limit_bytes}: split it, or send a reference to it"
        )
