"""Streams created, verified, upgraded and refused, on a real server."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from holdfast_gateway.broker.embedded import EmbeddedServer
from holdfast_gateway.broker.jetstream.access import access
from holdfast_gateway.broker.jetstream.link import Link
from holdfast_gateway.broker.jetstream.streams import ask
from holdfast_gateway.broker.provision import Outcome, provision, verify
from holdfast_gateway.ports import SourceUnavailable


class Admin:
    """What an operator does by hand."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def config(self, name: str) -> dict[str, Any]:
        info = await ask(self._link, f"$JS.API.STREAM.INFO.{name}", {})
        return dict(info["config"])

    async def change(self, name: str, **fields: Any) -> None:
        await ask(self._link, f"$JS.API.STREAM.UPDATE.{name}", {**await self.config(name), **fields})

    async def create(self, name: str, **fields: Any) -> None:
        await ask(self._link, f"$JS.API.STREAM.CREATE.{name}", {"name": name, **fields})

    async def delete(self, name: str) -> None:
        await ask(self._link, f"$JS.API.STREAM.DELETE.{name}", {})

    async def names(self) -> list[str]:
        return list((await ask(self._link, "$JS.API.STREAM.NAMES", {})).get("streams") or [])


@pytest.fixture
async def admin(nats_url: str) -> AsyncIterator[Admin]:
    link = Link(access([nats_url], {}), "test-admin")
    await link.connect(5)
    yield Admin(link)
    await link.close()


async def test_what_is_created_is_what_the_design_says(nats_url: str, admin: Admin) -> None:
    report = await provision([nats_url], partitions=3, max_age_seconds=3600, max_bytes=10_000_000)
    assert report.ok
    assert [s.outcome for s in report.streams] == [Outcome.CREATED] * 3
    assert len({s.name.rpartition("_")[2] for s in report.streams}) == 1, "one incarnation"
    for stream in report.streams:
        config = await admin.config(stream.name)
        p = stream.partition
        assert config["subjects"] == [f"hf.{p}.*.*"]
        assert config["republish"] == {"src": f"hf.{p}.*.*", "dest": f"hfl.{p}.{{{{wildcard(1)}}}}.{{{{wildcard(2)}}}}"}
        assert config["allow_direct"] is True
        assert config["deny_delete"] is True
        assert (config["retention"], config["storage"], config["discard"]) == ("limits", "file", "old")
        assert (config["max_age"], config["max_bytes"]) == (3600 * 10**9, 10_000_000)
        assert config["metadata"]["holdfast_contract"] == "1"
        assert config["metadata"]["holdfast_partitions"] == "3"
        for never in ("allow_msg_ttl", "allow_rollup_hdrs", "allow_atomic", "allow_msg_counter", "allow_msg_schedules"):
            assert not config.get(never)
        assert not config.get("subject_delete_marker_ttl")


async def test_it_is_idempotent(nats_url: str, admin: Admin) -> None:
    first = await provision([nats_url], partitions=2)
    before = [await admin.config(s.name) for s in first.streams]
    second = await provision([nats_url], partitions=2)
    assert [s.outcome for s in second.streams] == [Outcome.VERIFIED] * 2
    assert [await admin.config(s.name) for s in second.streams] == before
    assert (await verify([nats_url])).ok


async def test_a_dry_run_changes_nothing(nats_url: str, admin: Admin) -> None:
    report = await provision([nats_url], partitions=2, dry_run=True)
    assert [s.outcome for s in report.streams] == [Outcome.WOULD_CREATE] * 2
    assert await admin.names() == []
    await provision([nats_url])
    wished = await provision([nats_url], max_age_seconds=7200, upgrade=True, dry_run=True)
    assert [s.outcome for s in wished.streams] == [Outcome.WOULD_UPGRADE]
    assert "max_age" in str(wished)
    assert (await admin.config(wished.streams[0].name))["max_age"] == 86_400 * 10**9


async def test_what_differs_is_named_and_changed_only_when_asked(nats_url: str, admin: Admin) -> None:
    await provision([nats_url], max_bytes=10_000_000)
    report = await provision([nats_url], max_bytes=20_000_000, max_age_seconds=7200)
    assert not report.ok
    assert [s.outcome for s in report.streams] == [Outcome.DIFFERS]
    assert {d.field for d in report.streams[0].differences} == {"max_bytes", "max_age"}
    assert "max_bytes: is 10000000, has to be 20000000" in str(report)
    name = report.streams[0].name
    assert (await admin.config(name))["max_bytes"] == 10_000_000
    await admin.change(name, description="kept by the operator")
    changed = await provision([nats_url], max_bytes=20_000_000, max_age_seconds=7200, upgrade=True)
    assert [s.outcome for s in changed.streams] == [Outcome.UPGRADED]
    config = await admin.config(name)
    assert (config["max_bytes"], config["max_age"]) == (20_000_000, 7200 * 10**9)
    assert config["description"] == "kept by the operator"
    assert (await provision([nats_url], max_bytes=20_000_000, max_age_seconds=7200)).ok


@pytest.mark.parametrize(
    ("change", "field", "outcome"),
    [
        ({"allow_direct": False}, "allow_direct", Outcome.DIFFERS),
        ({"republish": None}, "republish.dest", Outcome.DIFFERS),
        ({"allow_rollup_hdrs": True}, "allow_rollup_hdrs", Outcome.DIFFERS),
        ({"max_msgs_per_subject": 100}, "max_msgs_per_subject", Outcome.DIFFERS),
        ({"discard": "new"}, "discard", Outcome.DIFFERS),
        ({"max_age": 60 * 10**9, "duplicate_window": 10**9}, "max_age", Outcome.DIFFERS),
        ({"allow_msg_ttl": True}, "allow_msg_ttl", Outcome.INCOMPATIBLE),
        (
            {"metadata": {"holdfast_contract": "2", "holdfast_partitions": "1"}},
            "metadata.holdfast_contract",
            "incompatible",
        ),
        ({"metadata": {}}, "metadata.holdfast_partitions", "incompatible"),
    ],
)
async def test_what_may_not_be_is_refused_by_both_commands(
    nats_url: str, admin: Admin, change: dict[str, Any], field: str, outcome: str
) -> None:
    """`serve` verifies and says the same as `provision`; an upgrade mends what can be mended and nothing else."""
    made = await provision([nats_url])
    name = made.streams[0].name
    await admin.change(name, **change)
    before = await admin.config(name)
    for report in (await provision([nats_url]), await verify([nats_url])):
        assert not report.ok
        assert str(report.streams[0].outcome).endswith(str(outcome))
        assert field in {d.field for d in report.streams[0].differences}
        assert f"{field}: is " in str(report)
    assert await admin.config(name) == before, "left alone"
    upgraded = await provision([nats_url], upgrade=True)
    if outcome is Outcome.DIFFERS:
        assert upgraded.ok, str(upgraded)
        assert (await verify([nats_url])).ok
    else:
        assert not upgraded.ok
        assert await admin.config(name) == before


async def test_another_partition_count_is_incompatible_and_creates_nothing(nats_url: str, admin: Admin) -> None:
    await provision([nats_url], partitions=2)
    for count in (1, 4):
        report = await provision([nats_url], partitions=count, upgrade=True)
        assert not report.ok
        assert "growth is a second namespace" in str(report)
    assert len(await admin.names()) == 2


async def test_a_foreign_stream_on_our_subjects_is_named(nats_url: str, admin: Admin) -> None:
    await admin.create("LEGACY", subjects=["hf.0.>"])
    report = await provision([nats_url])
    assert not report.ok
    assert "LEGACY: is incompatible" in str(report)
    assert await admin.names() == ["LEGACY"]


async def test_a_missing_stream_is_named_by_verify_and_created_by_provision(nats_url: str, admin: Admin) -> None:
    nothing = await verify([nats_url])
    assert not nothing.ok
    assert "is missing" in str(nothing)
    assert "`holdfast-gateway provision` creates what is missing" in str(nothing)
    made = await provision([nats_url], partitions=2)
    await admin.delete(made.streams[1].name)
    assert [s.outcome for s in (await verify([nats_url])).streams] == [Outcome.VERIFIED, Outcome.MISSING]
    again = await provision([nats_url], partitions=2)
    assert [s.outcome for s in again.streams] == [Outcome.VERIFIED, Outcome.CREATED]
    assert again.streams[1].name != made.streams[1].name, "a new stream is a new incarnation"


async def test_a_second_namespace_stands_beside_the_first(nats_url: str) -> None:
    assert (await provision([nats_url])).ok
    other = await provision([nats_url], partitions=2, prefix="hg")
    assert other.ok
    assert other.streams[0].name.startswith("HOLDFAST-hg_0_")
    assert (await verify([nats_url])).ok
    assert (await verify([nats_url], prefix="hg")).ok


@pytest.mark.parametrize(("first", "second"), [("hf", "hfl"), ("hfl", "hf"), ("hf", "hfc"), ("hfc", "hf")])
async def test_a_namespace_on_anothers_live_or_hint_subjects_is_refused(
    nats_url: str, admin: Admin, first: str, second: str
) -> None:
    """It would store again what the other one republishes."""
    made = await provision([nats_url], prefix=first)
    assert made.ok
    report = await provision([nats_url], prefix=second)
    assert not report.ok
    assert f"{made.streams[0].name}: is incompatible" in str(report)
    assert await admin.names() == [made.streams[0].name]


async def test_what_the_server_refuses_is_quoted(nats_url: str) -> None:
    report = await provision([nats_url], replicas=3)
    assert not report.ok
    assert [s.outcome for s in report.streams] == [Outcome.REFUSED]
    assert "replicas" in str(report)


async def test_an_age_below_ten_leases_is_refused(nats_url: str) -> None:
    with pytest.raises(ValueError, match="at least 300 s"):
        await provision([nats_url], max_age_seconds=60)


async def test_a_broker_that_is_down_is_named_without_its_password_in_bounded_time(nats_server: EmbeddedServer) -> None:
    url = nats_server.url.replace("nats://", "nats://user:secret@")
    await nats_server.close()
    begin = time.monotonic()
    for command in (provision([url], connect_seconds=0.5), verify([url], connect_seconds=0.5)):
        with pytest.raises(SourceUnavailable, match=f"127.0.0.1:{nats_server.port} within 0.5 s: ") as told:
            await command
        assert "secret" not in str(told.value)
    assert time.monotonic() - begin < 5
