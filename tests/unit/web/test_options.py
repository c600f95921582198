"""Settings from defaults, environment and command line."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

import pytest

from holdfast_gateway import options
from holdfast_gateway.options import SettingsError, env_of, flag_of, read, reference
from holdfast_gateway.settings import DEV, PROVISION, SERVE, Option, Settings
from holdfast_gateway.web.handover import WRITE_MARK_BYTES

ROOT = Path(__file__).parents[3]


def test_the_defaults_are_the_designs() -> None:
    """A default that changes, changes for everyone who never set it: it must be said in the design first."""
    s = read(SERVE, {}, {})
    assert (s.port, s.admin_port, s.wait_seconds, s.wait_max_seconds) == (8080, 9464, 10, 60)
    assert (s.heartbeat_seconds, s.retry_min_seconds, s.retry_max_seconds) == (15, 0.5, 1.5)
    assert (s.ring_bytes, s.ring_total_bytes, s.linger_seconds) == (4 << 20, 256 << 20, 30)
    assert (WRITE_MARK_BYTES, s.lag_bound_bytes) == (64 << 10, 16 << 20)
    assert (s.replays_per_stream, s.replay_page) == (2, 64)
    assert (s.drain_seconds, s.drain_grace_seconds, s.stream_age_seconds) == (30, 45, 3600)
    assert (s.hint_seconds, s.grace_seconds, s.idle_limit_seconds) == (6, 20, 600)
    assert (s.tenant, s.auth, s.prefix) == ("default", "none", "hf")
    p = read(PROVISION, {}, {})
    assert (p.partitions, p.replicas, p.max_age_seconds, p.max_bytes) == (4, 3, 86_400, 8 << 30)
    d = read(DEV, {}, {})
    assert (d.partitions, d.replicas, d.page) == (1, 1, True)


def test_the_flag_goes_before_the_environment_and_that_before_the_default() -> None:
    assert read(SERVE, {}, {"HOLDFAST_PORT": "9000"}).port == 9000
    assert read(SERVE, {"port": "9001"}, {"HOLDFAST_PORT": "9000"}).port == 9001


def test_the_sdks_variable_names_the_servers_too() -> None:
    assert read(SERVE, {}, {"HOLDFAST_NATS_URL": "nats://a:1"}).nats == ("nats://a:1",)
    both = {"HOLDFAST_NATS": "nats://b:1,nats://c:2", "HOLDFAST_NATS_URL": "nats://a:1"}
    assert read(SERVE, {}, both).nats == ("nats://b:1", "nats://c:2")


@pytest.mark.parametrize("f", fields(Settings), ids=lambda f: f.name)
def test_every_setting_is_read_from_its_flag_and_its_variable(f: object) -> None:
    option: Option = f.metadata["option"]  # type: ignore[attr-defined]
    name = f.name  # type: ignore[attr-defined]
    command = option.commands[0]
    text = {
        "list": "nats://h:1",
        "text": option.choices[-1] if option.choices else "word",
        "number": "3",
        "duration": "8h",
        "size": "2MiB",
        "flag": "yes",
    }[option.kind.value]
    extra = {"drain_grace_seconds": "9h", "retry_max_seconds": "9h"}
    parser = argparse.ArgumentParser()
    options.add_arguments(parser, command)
    given = vars(parser.parse_args([flag_of(name), text]))
    by_flag = read(
        command, {**{k: v for k, v in extra.items() if k != name}, **{k: v for k, v in given.items() if v}}, {}
    )
    by_env = read(command, {k: v for k, v in extra.items() if k != name}, {env_of(name): text})
    assert getattr(by_flag, name) == getattr(by_env, name) == options.parse(text, option)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"port": "http"}, "--port: 'http' is not a whole number"),
        ({"port": "70000"}, "--port: 70000 is above 65535"),
        ({"wait_seconds": "soon"}, "--wait: 'soon' is not a duration"),
        ({"wait_seconds": "-1"}, "--wait: '-1' is not a duration"),
        ({"ring_bytes": "4MB2"}, "--ring: '4MB2' is not a size"),
        ({"max_viewers": "0"}, "--max-viewers: '0' is below the least that works, 1"),
        ({"page": "perhaps"}, "--page: 'perhaps' is not yes or no"),
        ({"auth": "ldap"}, "--auth: 'ldap' is none of none"),
        ({"nats": "localhost"}, "--nats: 'localhost' is not of the form nats://host:port"),
        ({"nats": ","}, "--nats names no server"),
        ({"tenant": "a b"}, "tenant id 'a b' is not usable"),
        ({"prefix": "HF"}, "subject prefix"),
        ({"retry_min_seconds": "2s"}, "--retry-min is above --retry-max"),
        ({"drain_seconds": "60"}, "--drain-grace is shorter than --drain"),
    ],
)
def test_what_cannot_be_used_is_said_with_its_flag(given: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match="^" + said.replace("(", "\\(")):
        read(SERVE, given, {})


def test_every_fault_is_told_at_once_and_where_it_stands() -> None:
    with pytest.raises(SettingsError) as caught:
        read(SERVE, {"port": "x"}, {"HOLDFAST_WAIT": "y"})
    assert [fault.partition(":")[0] for fault in caught.value.faults] == ["--port", "HOLDFAST_WAIT"]


@pytest.mark.parametrize(("replicas", "ok"), [("1", True), ("2", False), ("3", True), ("4", False), ("5", True)])
def test_only_odd_numbers_of_replicas(replicas: str, ok: bool) -> None:
    if ok:
        assert read(PROVISION, {"replicas": replicas}, {}).replicas == int(replicas)
        return
    with pytest.raises(SettingsError, match="none of 1, 3, 5"):
        read(PROVISION, {"replicas": replicas}, {})


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("250ms", 0.25), ("30s", 30), ("10m", 600), ("24h", 86_400), ("1.5h", 5400)]
)
def test_durations_are_seconds(text: str, seconds: float) -> None:
    assert read(SERVE, {"linger_seconds": text}, {}).linger_seconds == seconds


def test_a_loopback_gateway_answers_only_to_its_own_names() -> None:
    assert Settings().host_names == ("localhost", "127.0.0.1", "::1")
    assert Settings(host="0.0.0.0").host_names == ("*",)
    assert Settings(allowed_hosts=("x.example",)).host_names == ("x.example",)


def test_docs_configuration_is_what_the_table_says() -> None:
    """Write it anew with `holdfast-gateway settings > docs/configuration.md`."""
    assert (ROOT / "docs" / "configuration.md").read_text() == reference()


def test_every_setting_says_its_unit_and_what_zero_means() -> None:
    for f, option in options.options():
        assert option.help.endswith("."), f.name
        if option.minimum == 0 and option.kind.value in ("number", "duration", "size"):
            assert option.zero or f.name.startswith("retry_"), f"{f.name}: what does 0 mean?"
