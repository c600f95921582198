"""Every setting of the gateway, once: this table makes the command line, the environment and docs/configuration.md.

A field is a setting. Its metadata says what it is, in which unit, and what zero (or empty) means; `options` reads
values for it from `--flag` and `HOLDFAST_FLAG`. Durations are seconds and sizes bytes, whatever unit they were
given in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

SERVE: Final = "serve"
DEV: Final = "dev"
PROVISION: Final = "provision"

_KIB, _MIB, _GIB = 1 << 10, 1 << 20, 1 << 30
_BOTH = (SERVE, DEV)
_ALL = (SERVE, DEV, PROVISION)
_STREAMS = (PROVISION, DEV)


class Kind(StrEnum):
    """How a setting's text is read."""

    TEXT = "text"
    LIST = "list"
    INTEGER = "number"
    DURATION = "duration"
    SIZE = "size"
    FLAG = "flag"


@dataclass(frozen=True, slots=True)
class Option:
    """What a setting is, beside its name, type and default."""

    kind: Kind
    help: str
    group: str
    commands: tuple[str, ...]
    zero: str = ""
    """What 0 (or empty) means, where it is allowed."""
    minimum: float | None = None
    choices: tuple[str, ...] = ()
    dev: Any = None
    """The default of `dev`, where it differs."""
    also_env: str = ""


def _s(default: Any, kind: Kind, help: str, group: str, commands: tuple[str, ...], **rest: Any) -> Any:
    return field(default=default, metadata={"option": Option(kind, help, group, commands, **rest)})


def _text(default: str, help: str, group: str, commands: tuple[str, ...] = _BOTH, **rest: Any) -> Any:
    return _s(default, Kind.TEXT, help, group, commands, **rest)


def _list(default: tuple[str, ...], help: str, group: str, commands: tuple[str, ...] = _BOTH, **rest: Any) -> Any:
    return _s(default, Kind.LIST, help, group, commands, **rest)


def _count(default: int, help: str, group: str, commands: tuple[str, ...] = _BOTH, **rest: Any) -> Any:
    return _s(default, Kind.INTEGER, help, group, commands, **{"minimum": 0, **rest})


def _seconds(default: float, help: str, group: str, commands: tuple[str, ...] = _BOTH, **rest: Any) -> Any:
    return _s(default, Kind.DURATION, help, group, commands, **{"minimum": 0, **rest})


def _bytes(default: int, help: str, group: str, commands: tuple[str, ...] = _BOTH, **rest: Any) -> Any:
    return _s(default, Kind.SIZE, help, group, commands, **{"minimum": 0, **rest})


def _flag(default: bool, help: str, group: str, commands: tuple[str, ...] = _BOTH, **rest: Any) -> Any:
    return _s(default, Kind.FLAG, help, group, commands, **rest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A gateway's configuration, checked. Made by `options.read`, or directly in tests."""

    # ------------------------------------------------------------------------------------------- listening
    host: str = _text("127.0.0.1", "Address to listen on. `0.0.0.0` is every IPv4 address of the machine.", "Listening")
    port: int = _count(8080, "Port for viewers.", "Listening", zero="the system chooses; the one chosen is printed")
    admin_host: str = _text("127.0.0.1", "Address of the admin port.", "Listening", (SERVE,))
    admin_port: int = _count(
        9464,
        "Port for `/metrics`, and health again. With several workers, worker n has the n-th port from here on.",
        "Listening",
        (SERVE,),
        zero="none: `/metrics` is not served",
    )
    workers: int = _count(
        1,
        "Processes that share the port, each with a hub of its own; one that dies is started again.",
        "Listening",
        (SERVE,),
        minimum=1,
    )
    allowed_hosts: tuple[str, ...] = _list(
        (),
        "`Host` names that are answered, without port; `*.example.org` takes subdomains, `*` any. "
        "Guards a gateway on a laptop against DNS rebinding.",
        "Listening",
        zero="listening on loopback: its own names only; else any",
    )
    cors_origins: tuple[str, ...] = _list(
        (),
        "Origins whose pages may read streams, like `https://app.example.org`; `*` is any.",
        "Listening",
        zero="pages of the gateway's own origin only",
    )
    handover: str = _text(
        "auto",
        "`auto`: connections of viewers leave uvicorn after the response head (the fast way out) where that is "
        "possible. `off`: always plain ASGI.",
        "Listening",
        choices=("auto", "off"),
    )
    backlog: int = _count(2048, "Connections waiting to be accepted.", "Listening", minimum=1)
    access_log: bool = _flag(False, "Log every request.", "Listening")
    page: bool = _flag(False, "Serve the page at `/`.", "Listening", dev=True)
    log_level: str = _text(
        "info", "What is logged.", "Listening", choices=("debug", "info", "warning", "error"), dev="warning"
    )

    # ---------------------------------------------------------------------------------------------- broker
    nats: tuple[str, ...] = _list(
        ("nats://127.0.0.1:4222",),
        "NATS servers of one cluster, separated by commas.",
        "Broker",
        (SERVE, PROVISION),
        also_env="HOLDFAST_NATS_URL",
    )
    nats_creds: str = _text(
        "", "File with NATS user credentials (JWT and seed).", "Broker", (SERVE, PROVISION), zero="none"
    )
    connect_seconds: float = _seconds(
        30.0,
        "How long to try for the first connection before giving up with exit code 69.",
        "Broker",
        (SERVE, PROVISION),
        zero="one attempt",
    )
    prefix: str = _text("hf", "Subject prefix: the namespace of the streams.", "Broker", _ALL)
    tenant: str = _text("default", "Tenant of all sessions while `auth` is `none`.", "Broker")
    replays_per_stream: int = _count(2, "Replays running at once on one stream; others wait.", "Broker", minimum=1)
    replay_page: int = _count(64, "Messages per Direct Get.", "Broker", minimum=1)

    # --------------------------------------------------------------------------------------------- streams
    partitions: int = _count(
        4, "Streams of the namespace. Fixed for good: growth is a second prefix.", "Streams", _STREAMS, minimum=1, dev=1
    )
    replicas: int = _count(3, "Copies of each stream.", "Streams", _STREAMS, minimum=1, dev=1)
    max_age_seconds: float = _seconds(
        86_400.0, "How long a message is kept. At least ten leases.", "Streams", _STREAMS, minimum=300
    )
    max_bytes: int = _bytes(
        8 * _GIB, "Bytes per stream; the oldest messages go first.", "Streams", _STREAMS, minimum=1, dev=_GIB
    )
    upgrade: bool = _flag(
        False, "Change existing streams where that is safe, instead of naming the difference.", "Streams", (PROVISION,)
    )
    dry_run: bool = _flag(False, "Say what would be done, and do nothing.", "Streams", (PROVISION,))

    # ---------------------------------------------------------------------------------------------- access
    auth: str = _text("none", "Who may read and cancel. `none`: everyone.", "Access", choices=("none",))

    # --------------------------------------------------------------------------------------------- viewers
    wait_seconds: float = _seconds(
        10.0,
        "How long a viewer of an unknown session is held before 404; `?wait=` chooses another.",
        "Viewers",
        zero="404 at once",
    )
    wait_max_seconds: float = _seconds(60.0, "The longest `?wait=` granted.", "Viewers", zero="no waiting at all")
    heartbeat_seconds: float = _seconds(
        15.0, "A comment line after this much silence, for proxies.", "Viewers", zero="none"
    )
    retry_min_seconds: float = _seconds(
        0.5, "Shortest reconnect delay told to a client; each stream gets a random one between the two.", "Viewers"
    )
    retry_max_seconds: float = _seconds(1.5, "Longest reconnect delay told to a client.", "Viewers")
    stream_age_seconds: float = _seconds(
        3600.0,
        "A response older than this, give or take 10 %, is closed at an event boundary; the client resumes.",
        "Viewers",
        zero="never",
    )
    max_viewers: int = _count(
        50_000, "Viewers at once in one process; more are told to come back.", "Viewers", minimum=1
    )
    max_viewers_per_session: int = _count(
        20_000, "Viewers of one session in one process; more are told to come back.", "Viewers", minimum=1
    )
    max_requests: int = _count(
        256, "State, snapshot and cancel requests at once in one process; more get 429.", "Viewers", minimum=1
    )
    broker_wait_seconds: float = _seconds(
        5.0, "How long a request waits for a broker that does not answer.", "Viewers", minimum=0.1
    )
    lag_bound_bytes: int = _bytes(
        16 * _MIB, "A viewer further behind is closed at an event boundary and resumes.", "Viewers", minimum=1024
    )

    # ---------------------------------------------------------------------------------------------- memory
    ring_bytes: int = _bytes(
        4 * _MIB, "Log kept in memory per session, for viewers a little behind.", "Memory", minimum=1
    )
    ring_total_bytes: int = _bytes(256 * _MIB, "The same for all sessions of a process.", "Memory", minimum=1)
    snapshot_bytes: int = _bytes(
        8 * _MIB, "Largest snapshot; a larger answer is replayed instead.", "Memory", minimum=1024
    )
    linger_seconds: float = _seconds(
        30.0, "How long a session without viewers is kept.", "Memory", zero="dropped with its last viewer"
    )

    # ------------------------------------------------------------------------------------------------ runs
    hint_seconds: float = _seconds(
        6.0, "Without a producer's heartbeats this long, it is asked about sooner than its lease.", "Runs", minimum=1
    )
    grace_seconds: float = _seconds(
        20.0, "From told lost to closed as failed, the stream's leader answering all the while.", "Runs", minimum=12
    )
    idle_limit_seconds: float = _seconds(
        600.0, "Silence after which a run without a lease (plain NATS, HTTP) is closed.", "Runs", zero="never"
    )

    # ----------------------------------------------------------------------------------------------- drain
    drain_seconds: float = _seconds(
        30.0,
        "On SIGTERM viewers are sent away spread over this long.",
        "Shutdown",
        zero="all at once",
        dev=0.0,
    )
    drain_grace_seconds: float = _seconds(
        45.0, "Whatever is left is cut after this long. At least the drain window.", "Shutdown", zero="at once", dev=1.0
    )

    # ------------------------------------------------------------------------------------------- playground
    home: str = _text(".holdfast", "Directory of the embedded server's store and of `dev.json`.", "Development", (DEV,))
    openai_url: str = _text(
        "",
        "OpenAI-compatible endpoint that the page may ask, like `http://127.0.0.1:11434/v1`.",
        "Development",
        (DEV,),
        zero="the page types pasted text only",
    )
    openai_model: str = _text("", "Model to ask there.", "Development", (DEV,), zero="the endpoint's default")
    openai_key: str = _text("", "Key for it. Better given in the environment.", "Development", (DEV,), zero="none sent")

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the gateway."""
        return self.host in LOOPBACK_NAMES or self.host.startswith("127.")

    @property
    def host_names(self) -> tuple[str, ...]:
        """The `Host` names answered; `("*",)` is any."""
        if self.allowed_hosts:
            return self.allowed_hosts
        return tuple(dict.fromkeys((*LOOPBACK_NAMES, self.host))) if self.is_loopback else ("*",)


LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "::1")
