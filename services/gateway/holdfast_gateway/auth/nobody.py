"""`--auth none`: everyone may do everything, in one tenant."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.wire import SessionId, TenantId
from holdfast_gateway.auth.grants import Action, Credentials


@dataclass(frozen=True, slots=True)
class Everything:
    """A grant without limits."""

    tenant: TenantId
    expires_at: float | None = None

    def allows(self, action: Action, session: SessionId) -> bool:
        return True


class NoAuthentication:
    """For one machine, and behind a proxy that judges requests itself."""

    __slots__ = ("_grant",)

    def __init__(self, tenant: TenantId) -> None:
        self._grant = Everything(tenant)

    async def authenticate(self, credentials: Credentials) -> Everything:
        return self._grant
