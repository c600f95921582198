"""Reads settings: defaults, then `HOLDFAST_*`, then the command line. All faults are named at once."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping
from dataclasses import Field, fields
from typing import Any, Final

from holdfast.wire.errors import InvalidId
from holdfast.wire.subjects import Namespace, tenant_id
from holdfast_gateway.settings import DEV, Kind, Option, Settings

_DURATION = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_SIZE = {"": 1, "b": 1, "k": 1 << 10, "kib": 1 << 10, "m": 1 << 20, "mib": 1 << 20, "g": 1 << 30, "gib": 1 << 30}
_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([a-zA-Z]*)")
_TRUE, _FALSE = {"1", "true", "yes", "on"}, {"0", "false", "no", "off", ""}

UNIT: Final = {
    Kind.DURATION: "a duration: seconds, or with a unit (250ms, 30s, 10m, 24h, 7d)",
    Kind.SIZE: "a size: bytes, or with a unit (64KiB, 4MiB, 8GiB)",
    Kind.INTEGER: "a whole number",
    Kind.FLAG: "yes or no",
    Kind.LIST: "a list, separated by commas",
    Kind.TEXT: "text",
}


class SettingsError(Exception):
    """Settings that cannot be used. `faults` says each, in a sentence."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(faults))


def options(command: str | None = None) -> Iterator[tuple[Field[Any], Option]]:
    """The settings of one command, or all, in the table's order."""
    for f in fields(Settings):
        option: Option = f.metadata["option"]
        if command is None or command in option.commands:
            yield f, option


def flag_of(name: str) -> str:
    """`max_age_seconds` is `--max-age`: the unit is in the value. A name that is only a unit keeps it."""
    short = name.removesuffix("_seconds")
    if short.endswith("_bytes") and short != "max_bytes":
        short = short.removesuffix("_bytes")
    return "--" + short.replace("_", "-")


def env_of(name: str) -> str:
    return "HOLDFAST_" + flag_of(name)[2:].replace("-", "_").upper()


def default_of(f: Field[Any], option: Option, command: str) -> Any:
    return option.dev if command == DEV and option.dev is not None else f.default


def add_arguments(parser: argparse.ArgumentParser, command: str) -> None:
    """One flag per setting of the command. Values stay text here: `read` checks them, wherever they come from."""
    groups: dict[str, Any] = {}
    for f, option in options(command):
        group = groups.setdefault(option.group, parser.add_argument_group(option.group.lower()))
        shown = shown_default(default_of(f, option, command), option)
        text = f"{option.help} Default: {shown}." + (f" {_zero(option)}" if option.zero else "")
        text = text.replace("%", "%%").replace("`", "")
        if option.kind is Kind.FLAG:
            group.add_argument(flag_of(f.name), dest=f.name, nargs="?", const="yes", metavar="YES|NO", help=text)
        else:
            name = "URL[,URL]" if f.name == "nats" else option.kind.value.upper()
            group.add_argument(flag_of(f.name), dest=f.name, metavar=name, help=text)


def read(command: str, given: Mapping[str, str | None], environ: Mapping[str, str]) -> Settings:
    """Settings for a command from what was given on its command line and the environment.

    Raises:
        SettingsError: with every fault found, not only the first.
    """
    values: dict[str, Any] = {}
    faults: list[str] = []
    for f, option in options():
        if command not in option.commands:
            values[f.name] = default_of(f, option, command)
            continue
        text, source = given.get(f.name), flag_of(f.name)
        if text is None:
            for name in filter(None, (env_of(f.name), option.also_env)):
                if text is None and name in environ:
                    text, source = environ[name], name
        try:
            values[f.name] = default_of(f, option, command) if text is None else parse(text, option)
        except ValueError as fault:
            faults.append(f"{source}: {fault}")
    if not faults:
        faults.extend(_together(values, command))
    if faults:
        raise SettingsError(faults)
    return Settings(**values)


def parse(text: str, option: Option) -> Any:
    """One value. Raises `ValueError` that says what would do."""
    value = _parse(text.strip(), option.kind)
    if option.choices and value not in option.choices:
        raise ValueError(f"{text!r} is none of {', '.join(option.choices)}")
    if option.minimum is not None and value < option.minimum:
        raise ValueError(f"{text!r} is below the least that works, {shown_default(option.minimum, option)}")
    return value


def _parse(text: str, kind: Kind) -> Any:
    if kind is Kind.TEXT:
        return text
    if kind is Kind.LIST:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if kind is Kind.FLAG:
        if text.lower() in _TRUE | _FALSE:
            return text.lower() in _TRUE
    elif kind is Kind.INTEGER:
        if text.isascii() and text.isdigit() and len(text) < 12:
            return int(text)
    elif m := _NUMBER.fullmatch(text):
        number, unit = float(m[1]), m[2]
        if kind is Kind.DURATION and unit in _DURATION:
            return number * _DURATION[unit]
        if kind is Kind.SIZE and unit.lower() in _SIZE and number < 1 << 50:
            return int(number * _SIZE[unit.lower()])
    raise ValueError(f"{text!r} is not {UNIT[kind]}")


def _together(values: Mapping[str, Any], command: str) -> Iterator[str]:
    """Rules over several settings."""
    try:
        Namespace(values["partitions"], values["prefix"])
        tenant_id(values["tenant"])
    except (InvalidId, ValueError) as fault:
        yield str(fault)
    if values["retry_min_seconds"] > values["retry_max_seconds"]:
        yield "--retry-min is above --retry-max"
    if values["drain_grace_seconds"] < values["drain_seconds"]:
        yield "--drain-grace is shorter than --drain: viewers would be cut before they are sent away"
    if not values["nats"]:
        yield "--nats names no server"
    for url in values["nats"]:
        if not re.fullmatch(r"(nats|tls|ws|wss)://[^/\s]+", url):
            yield f"--nats: {url!r} is not of the form nats://host:port"
    for port in ("port", "admin_port"):
        if values[port] > 65_535:
            yield f"{flag_of(port)}: {values[port]} is above 65535"
    if command == "provision" and values["replicas"] not in (1, 3, 5):
        yield f"--replicas: {values['replicas']} is none of 1, 3, 5: an even count survives no more failures"


def shown_default(value: Any, option: Option) -> str:
    """A value as people write it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if option.kind is Kind.LIST:
        return ",".join(value) or "empty"
    if option.kind is Kind.DURATION:
        for unit, seconds in (("h", 3600), ("s", 1)):
            if value >= seconds and value % seconds == 0:
                return f"{value / seconds:g} {unit}"
        return "0" if value == 0 else f"{value * 1000:g} ms"
    if option.kind is Kind.SIZE:
        for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
            if value >= size and value % size == 0:
                return f"{value // size:g} {unit}"
        return f"{value:g} B"
    return f"{value:g}" if isinstance(value, (int, float)) else (value or "empty")


def _zero(option: Option) -> str:
    return f"{'Empty' if option.kind in (Kind.TEXT, Kind.LIST) else '0'}: {option.zero}."


def reference() -> str:
    """docs/configuration.md, whole."""
    lines = [
        "# Configuration",
        "",
        "Made from the table in `settings.py` by `holdfast-gateway settings`; a test keeps the two alike.",
        "",
        "Every setting is a flag and an environment variable; the flag wins. Durations take `ms`, `s`, `m`, `h`, `d`",
        "(a bare number is seconds), sizes `KiB`, `MiB`, `GiB` (a bare number is bytes), lists have commas.",
    ]
    group = ""
    for f, option in options():
        if option.group != group:
            group = option.group
            lines += [
                "",
                f"## {group}",
                "",
                "| flag | variable | default | commands | meaning |",
                "|---|---|---|---|---|",
            ]
        default = shown_default(f.default, option)
        if option.dev is not None:
            default += f" (`dev`: {shown_default(option.dev, option)})"
        meaning = option.help + (f" Choices: {', '.join(option.choices)}." if len(option.choices) > 1 else "")
        meaning += f" {_zero(option)}" if option.zero else ""
        env = f"`{env_of(f.name)}`" + (f", `{option.also_env}`" if option.also_env else "")
        lines.append(f"| `{flag_of(f.name)}` | {env} | {default} | {', '.join(option.commands)} | {meaning} |")
    return "\n".join(lines) + "\n"
