"""The streams of a namespace, for tests. `holdfast-gateway provision` is what makes them for real."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence

from holdfast.connection import Access, Connection
from holdfast.requests import Requests
from holdfast.wire import Namespace
from holdfast.wire.limits import CONTRACT_VERSION, MAX_EVENT_BYTES
from holdfast.wire.subjects import DEFAULT_PREFIX, incarnation_at


async def create_streams(
    servers: Sequence[str],
    *,
    partitions: int = 1,
    replicas: int = 1,
    prefix: str = DEFAULT_PREFIX,
    max_age_seconds: float = 86_400.0,
    timeout_seconds: float = 30.0,
) -> list[str]:
    """Create the streams and return their names. Retries while a cluster has no leader; raises `RuntimeError` else."""
    namespace = Namespace(partitions, prefix)
    incarnation = incarnation_at(time.time())
    connection = Connection(servers, Access(), "holdfast-testing")
    await connection.open(timeout_seconds)
    try:
        requests = Requests(connection)
        await requests.open()
        names = []
        for partition in range(partitions):
            name = namespace.stream_name(partition, incarnation)
            await _create(
                requests, name, _config(namespace, partition, name, replicas, max_age_seconds), timeout_seconds
            )
            names.append(name)
        requests.close()
        return names
    finally:
        await connection.close()


def _config(
    namespace: Namespace, partition: int, name: str, replicas: int, max_age_seconds: float
) -> dict[str, object]:
    stored = namespace.stored_filter(partition)
    return {
        "name": name,
        "subjects": [stored],
        "republish": {"src": stored, "dest": namespace.live_template(partition)},
        "retention": "limits",
        "storage": "file",
        "discard": "old",
        "num_replicas": replicas,
        "max_age": int(max_age_seconds * 1e9),
        "max_bytes": 1024**3,
        "max_msg_size": MAX_EVENT_BYTES + 64 * 1024,
        "duplicate_window": 2_000_000_000,
        "allow_direct": True,
        "deny_delete": True,
        "metadata": {
            "holdfast_contract": str(CONTRACT_VERSION),
            "holdfast_partitions": str(namespace.partitions),
        },
    }


async def _create(requests: Requests, name: str, config: dict[str, object], timeout_seconds: float) -> None:
    deadline, why = time.monotonic() + timeout_seconds, "no answer"
    while time.monotonic() < deadline:
        try:
            status, body = await requests.request(f"$JS.API.STREAM.CREATE.{name}", json.dumps(config).encode(), 5.0)
        except (TimeoutError, ConnectionError) as error:
            why = str(error) or why
            continue
        answer = json.loads(body or b"{}")
        if status == 0 and "error" not in answer:
            return
        why = str(answer.get("error", status))
        if answer.get("error", {}).get("code") == 400:
            break
        await asyncio.sleep(0.2)
    raise RuntimeError(f"stream {name} could not be created: {why}")
