"""`holdfast-gateway serve | provision | dev | settings`.

Whatever goes wrong outside (a broker that is down, a busy port, an incompatible stream, a mistyped setting) ends in a
message that says what to do, and an exit code; a traceback means a fault of ours.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from importlib.metadata import version
from types import FrameType
from typing import Any, Final

from holdfast_gateway import options
from holdfast_gateway.settings import DEV, PROVISION, SERVE, Settings
from holdfast_gateway.workers import Place, supervise

_COMMANDS: Final = {
    SERVE: "serve viewers from a NATS cluster whose streams are provisioned",
    PROVISION: "create the streams of a namespace, or verify them",
    DEV: "everything on this machine: a NATS server of its own, the streams, a gateway, a page",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    given = vars(_parser().parse_args(arguments))
    command = given.pop("command")
    if command == "settings":
        sys.stdout.write(options.reference())
        return 0
    place = Place.of(os.environ)  # type: ignore[arg-type]
    try:
        settings = options.read(command, given, os.environ)
    except options.SettingsError as error:
        for fault in error.faults:
            print(f"holdfast-gateway {command}: {fault}", file=sys.stderr)
        print("holdfast-gateway settings lists every setting", file=sys.stderr)
        return 2
    _log(settings, place)
    try:
        return _run(_coroutine(command, settings, place, arguments))
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="holdfast-gateway", description="Resumable, multi-viewer event streams on NATS JetStream."
    )
    parser.add_argument("--version", action="version", version=f"holdfast {version('holdfast')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in _COMMANDS.items():
        sub = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        options.add_arguments(sub, name)
    commands.add_parser("settings", help="write the reference of all settings (docs/configuration.md)")
    return parser


def _coroutine(
    command: str, settings: Settings, place: Place | None, argv: Sequence[str]
) -> Callable[[], Coroutine[Any, Any, int]]:
    # Imported here: `provision --help` should not load a web framework.
    if command == PROVISION:
        from holdfast_gateway.commands import provision

        return lambda: provision(settings)
    if command == DEV:
        from holdfast_gateway.dev import develop

        return lambda: develop(settings)
    if settings.workers > 1 and place is None:
        return lambda: supervise(settings, argv)
    from holdfast_gateway.commands import serve

    return lambda: serve(settings, place)


def _run(make: Callable[[], Coroutine[Any, Any, int]]) -> int:
    from holdfast_gateway.failures import Failure, failure_of

    async def guarded() -> int:
        # Until the server takes the signals over: SIGTERM ends the start as Ctrl-C does, with everything cleaned up.
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def terminated(number: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(task.cancel)

        signal.signal(signal.SIGTERM, terminated)
        try:
            return await make()
        except Exception as error:
            failure = failure_of(error)
            if failure is None:
                raise
            raise failure from None

    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            code: int = runner.run(guarded())
            return code
    except Failure as failure:
        print(f"holdfast-gateway: {failure}", file=sys.stderr)
        return failure.code
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed: it halves the cost of a write."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _log(settings: Settings, place: Place | None) -> None:
    who = "" if place is None else f" worker {place.index}"
    logging.basicConfig(
        level=settings.log_level.upper(),
        format=f"%(asctime)s %(levelname)s %(name)s{who} %(message)s",
        stream=sys.stderr,
    )
    for chatty in ("nats", "asyncio", "uvicorn.error"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLogger().level))
