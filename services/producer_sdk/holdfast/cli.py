"""`holdfast`: publish a program's output, follow a session in a terminal, stop a run."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Final

from holdfast import __version__, connect
from holdfast.client import Holdfast
from holdfast.errors import HoldfastError, SessionCancelled
from holdfast.operations import fold_log
from holdfast.reading import StreamEvent

READ_BYTES: Final = 32 * 1024
UNTAKEN_READS: Final = 32
"""Reads of standard input that wait for the session; then the pipe fills up, and the program waits."""

EOF_GRACE_SECONDS: Final = 0.05
"""Ctrl-C reaches both ends of a pipe. The program's end must not look like a good one just because it was quicker."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0 done, 1 failed, 2 misused, 130 interrupted."""
    args = _parser().parse_args(argv)
    logging.getLogger("nats").setLevel(logging.CRITICAL)
    try:
        return asyncio.run(_run(args))
    except HoldfastError as error:
        print(f"holdfast: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to flush at exit
        return 0


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    env = os.environ.get
    common.add_argument(
        "--nats",
        metavar="URL[,URL]",
        default=env("HOLDFAST_NATS"),
        help="NATS servers (HOLDFAST_NATS or HOLDFAST_NATS_URL; else the dev gateway's, else nats://127.0.0.1:4222)",
    )
    common.add_argument("--tenant", default=env("HOLDFAST_TENANT", "default"), help="whose sessions (HOLDFAST_TENANT)")
    common.add_argument("--prefix", default=env("HOLDFAST_PREFIX", "hf"), help="subject prefix (HOLDFAST_PREFIX)")
    common.add_argument(
        "--nats-creds",
        metavar="FILE",
        default=env("HOLDFAST_NATS_CREDS"),
        help="NATS credentials file (HOLDFAST_NATS_CREDS)",
    )
    common.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        default=float(env("HOLDFAST_TIMEOUT", "5")),
        help="how long to try to connect (HOLDFAST_TIMEOUT; 5)",
    )
    parser = argparse.ArgumentParser(prog="holdfast", description="Resumable streams from and to a terminal.")
    parser.add_argument("--version", action="version", version=f"holdfast {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)

    publish = commands.add_parser("publish", parents=[common], help="stream standard input into a session")
    publish.add_argument("session")
    publish.add_argument("--type", default="message", help="event type of what is published")
    publish.add_argument("--run", metavar="ID", help="a run id of your choice")
    publish.add_argument("--lease", type=float, default=30.0, metavar="SECONDS", help="lost after this much silence")

    tail = commands.add_parser("tail", parents=[common], help="follow a session; resumes by itself")
    tail.add_argument("session")
    tail.add_argument("--follow", "-f", action="store_true", help="stay for the next runs")
    tail.add_argument("--from", dest="start", default="start", metavar="start|now|CURSOR", help="where to begin")
    tail.add_argument("--json", action="store_true", help="one JSON object an event: id, type, data")
    tail.add_argument("--wait", type=float, default=10.0, metavar="SECONDS", help="how long to wait for a producer")

    cancel = commands.add_parser("cancel", parents=[common], help="stop a session's run")
    cancel.add_argument("session")
    cancel.add_argument("--run", metavar="NUMBER|ID", help="which run; the open one by default")
    cancel.add_argument("--reason", help="a text for viewers")

    subject = commands.add_parser("subject", parents=[common], help="print the NATS subject a session is stored under")
    subject.add_argument("session")
    return parser


async def _run(args: argparse.Namespace) -> int:
    commands = {"publish": _publish, "tail": _tail, "cancel": _cancel, "subject": _subject}
    async with connect(
        args.nats,
        tenant=args.tenant,
        prefix=args.prefix,
        credentials=args.nats_creds,
        timeout_seconds=args.timeout,
    ) as hf:
        return await commands[args.command](hf, args)


# ------------------------------------------------------------------------------------------------------ publish


async def _publish(hf: Holdfast, args: argparse.Namespace) -> int:
    try:
        async with hf.session(args.session, run_id=args.run, lease_seconds=args.lease) as session:
            async with aclosing(read_input()) as chunks, asyncio.timeout(None) as stopped:
                session.on_cancel(lambda: stopped.reschedule(0.0))
                async for chunk in chunks:
                    await session.write_async(chunk, args.type)
                await session.drain()
                await asyncio.sleep(EOF_GRACE_SECONDS)
    except (SessionCancelled, TimeoutError):
        print(f"holdfast: session {args.session} was cancelled", file=sys.stderr)
        return 1
    return 0


async def read_input(descriptor: int = 0) -> AsyncGenerator[bytes, None]:
    """A file descriptor's bytes as they come, never ending inside a UTF-8 character. Bounded; cancellable."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    room = threading.BoundedSemaphore(UNTAKEN_READS)

    def pump() -> None:
        while True:
            room.acquire()
            try:
                data = os.read(descriptor, READ_BYTES)
            except OSError:
                data = b""
            try:
                loop.call_soon_threadsafe(queue.put_nowait, data)
            except RuntimeError:
                return  # the loop is closed
            if not data:
                return

    # A daemon thread: it may sit in read(2) for ever, and must not keep the process.
    threading.Thread(target=pump, name="holdfast-stdin", daemon=True).start()
    rest = b""
    while data := await queue.get():
        room.release()
        whole, rest = split_utf8(rest + data)
        if whole:
            yield whole
    if rest:
        yield rest


def split_utf8(data: bytes) -> tuple[bytes, bytes]:
    """Split before a character that is only begun at the end. Bytes that are no UTF-8 are not held back."""
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        if byte >= 0xC0:  # a first byte: does it want more than there is?
            wanted = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2
            return (data[:-back], data[-back:]) if wanted > back and byte < 0xF8 else (data, b"")
        if byte < 0x80:
            break
    return data, b""


# --------------------------------------------------------------------------------------------------------- tail


async def _tail(hf: Holdfast, args: argparse.Namespace) -> int:
    cursor = None if args.start == "start" else args.start
    if args.start == "now":
        place = hf._place(args.session)
        cursor = f"{place.incarnation}-{(await fold_log(hf._log, place)).last}"
    show: Callable[[StreamEvent], None] = _show_json if args.json else _show_text
    status = 0
    wait = None if args.follow else args.wait
    async with aclosing(hf.read(args.session, cursor, follow=args.follow, wait_seconds=wait)) as events:
        async for event in events:
            show(event)
            if event.type in ("session.failed", "session.cancelled"):
                status = 1
            elif event.type in ("session.end", "session.start"):
                status = 0
    return status


def _show_json(event: StreamEvent) -> None:
    print(json.dumps({"id": event.id, "type": event.type, "data": event.text}, ensure_ascii=False), flush=True)


def _show_text(event: StreamEvent) -> None:
    if not event.control:
        sys.stdout.buffer.write(event.data)
        sys.stdout.buffer.flush()
        return
    if event.type in ("session.start", "session.end"):
        if event.type == "session.end":
            sys.stdout.buffer.write(b"\n")
            sys.stdout.buffer.flush()
        return
    about = {k: v for k, v in event.json().items() if v is not None}
    told = ", ".join(f"{name} {value}" for name, value in about.items())
    print(f"\n[{event.type.removeprefix('session.')}: {told}]", file=sys.stderr, flush=True)


# ------------------------------------------------------------------------------------------------------- cancel


async def _cancel(hf: Holdfast, args: argparse.Namespace) -> int:
    run: int | str | None = args.run
    if isinstance(run, str) and run.isascii() and run.isdigit():
        run = int(run)
    outcome = await hf.cancel(args.session, run, reason=args.reason)
    said = {
        "cancelled": "cancelled",
        "pending": "that run has not started; it will be cancelled when it does",
        "not_open": "there is no such open run",
    }
    print(said[outcome])
    return 0 if outcome != "not_open" else 1


async def _subject(hf: Holdfast, args: argparse.Namespace) -> int:
    """For `nats pub`: the partition is part of it, and only the streams know how many there are."""
    print(hf._place(args.session).stored)
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell started us in the background
    sys.exit(main())
