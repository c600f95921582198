"""Subjects and stream names: where a session lives on the broker.

A session is one subject, `<prefix>.<partition>.<tenant>.<session>`. Tenant and partition are whole tokens because NATS
permissions and exports match whole tokens only. The partition follows from the ids, so everyone finds a session
without asking; the number of partitions is fixed for a namespace and stands in its streams' metadata.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import Final, NewType

from holdfast.wire.errors import InvalidId

SessionId = NewType("SessionId", str)
TenantId = NewType("TenantId", str)

DEFAULT_TENANT: Final = TenantId("default")
DEFAULT_PREFIX: Final = "hf"

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_PREFIX = re.compile(r"[a-z][a-z0-9]{0,15}")
_STREAM = re.compile(r"(HOLDFAST(?:-[a-z][a-z0-9]{0,15})?)_([0-9]{1,4})_([a-z0-9]{1,16})")


def session_id(value: str) -> SessionId:
    """Check a session id. Raises `InvalidId`."""
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise InvalidId("session id", value)
    return SessionId(value)


def tenant_id(value: str) -> TenantId:
    """Check a tenant id. Raises `InvalidId`."""
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise InvalidId("tenant id", value)
    return TenantId(value)


def run_name(value: str) -> str:
    """Check a run id chosen by the caller. Raises `InvalidId`."""
    return token("run id", value)


def is_token(value: str) -> bool:
    """Whether a text may be a token of a subject and an id: 1 to 128 characters of `A-Z a-z 0-9 _ -`."""
    return _ID.fullmatch(value) is not None


def token(what: str, value: str) -> str:
    """Check an id; `what` names it in the error. Raises `InvalidId`."""
    if not isinstance(value, str) or not is_token(value):
        raise InvalidId(what, value)
    return value


def partition_of(tenant: TenantId, session: SessionId, partitions: int) -> int:
    """The partition of a session: CRC-32 (ISO-HDLC, as zlib has it) of `tenant/session`, modulo the partition count."""
    return zlib.crc32(f"{tenant}/{session}".encode("ascii")) % partitions


@dataclass(frozen=True, slots=True)
class SessionKey:
    """One session of one tenant: the unit that is ordered, fenced, replayed and followed."""

    tenant: TenantId
    session: SessionId

    @classmethod
    def of(cls, session: str, tenant: str = DEFAULT_TENANT) -> SessionKey:
        """Check both ids. Raises `InvalidId`."""
        return cls(tenant_id(tenant), session_id(session))

    def __str__(self) -> str:
        return f"{self.tenant}/{self.session}"


@dataclass(frozen=True, slots=True)
class Namespace:
    """A set of partitions under one subject prefix. `partitions` never changes; growth is a second namespace."""

    partitions: int
    prefix: str = DEFAULT_PREFIX

    def __post_init__(self) -> None:
        if not _PREFIX.fullmatch(self.prefix):
            raise InvalidId("subject prefix (a lower-case letter, then letters and digits, at most 16)", self.prefix)
        if not 1 <= self.partitions <= 1024:
            raise ValueError(f"partitions must be 1 to 1024, not {self.partitions}")

    def partition(self, key: SessionKey) -> int:
        """Which of the namespace's streams holds a session."""
        return partition_of(key.tenant, key.session, self.partitions)

    def stored(self, key: SessionKey) -> str:
        """The subject whose messages the stream keeps: what producers publish to."""
        return f"{self.prefix}.{self.partition(key)}.{key.tenant}.{key.session}"

    def live(self, key: SessionKey) -> str:
        """The subject the stream republishes to, on core NATS."""
        return f"{self.prefix}l.{self.partition(key)}.{key.tenant}.{key.session}"

    def stored_filter(self, partition: int) -> str:
        """What one stream stores."""
        return f"{self.prefix}.{partition}.*.*"

    def live_template(self, partition: int) -> str:
        """The republish destination of one stream, in the server's mapping language."""
        return f"{self.prefix}l.{partition}.{{{{wildcard(1)}}}}.{{{{wildcard(2)}}}}"

    def writer_hint(self, writer: str) -> str:
        """Where an SDK process sends its heartbeat hints, on core NATS. Never evidence."""
        return f"{self.prefix}c.w.{writer}"

    def writer_nudge(self, writer: str) -> str:
        """Where a process is told, on core NATS, to look at its sessions' logs at once: after a cancel or a takeover.

        The body is the session's stored subject. Never evidence: whoever is nudged asks the log.
        """
        return f"{self.prefix}c.n.{writer.partition('-')[0]}"

    def stream_name(self, partition: int, incarnation: str) -> str:
        """The name of one partition's stream; `StreamName.parse` takes it apart."""
        stem = "HOLDFAST" if self.prefix == DEFAULT_PREFIX else f"HOLDFAST-{self.prefix}"
        return f"{stem}_{partition}_{incarnation}"

    def key_of(self, subject: str) -> SessionKey | None:
        """The session of a stored or live subject; None for a subject that is not of this namespace."""
        parts = subject.split(".")
        if len(parts) != 4 or parts[0] not in (self.prefix, f"{self.prefix}l"):
            return None
        if not (_ID.fullmatch(parts[2]) and _ID.fullmatch(parts[3])):
            return None
        return SessionKey(TenantId(parts[2]), SessionId(parts[3]))


@dataclass(frozen=True, slots=True)
class StreamName:
    """A stream's name taken apart."""

    prefix: str
    partition: int
    incarnation: str

    @classmethod
    def parse(cls, name: str) -> StreamName | None:
        """None for a stream that is not one of ours."""
        m = _STREAM.fullmatch(name)
        if m is None:
            return None
        stem, partition, incarnation = m.groups()
        return cls(stem[9:] or DEFAULT_PREFIX, int(partition), incarnation)


def incarnation_at(unix_seconds: float) -> str:
    """A new stream's incarnation: its creation time in milliseconds, base 36. Never reused, since time goes on.

    A random id in the metadata would survive a restore and so hide that sequences were rolled back.
    """
    n, digits = int(unix_seconds * 1000), ""
    while n:
        n, d = divmod(n, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[d] + digits
    return digits or "0"
