"""Results as text: one table a cell, and our ratio to each peer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bench.results import Results, Row, kept_up, ratio

OURS = "holdfast"

TITLES = {
    "floor": "The floor: one write per event and viewer, nothing else",
    "a": "a: one session, 50 events/s of 256 B",
    "b": "b: one session, 1,000 viewers, rising rate",
    "c": "c: 1,000 sessions, one viewer each",
    "d": "d: 100 sessions, ten viewers each, 50 events/s",
    "e": "e: idle viewers on 100 open sessions",
    "f": "f: replay of 1,000 events of one session (time from the request to the last event)",
    "g": "g: 1,000 viewers with and without one that stopped reading, five pairs",
    "h": "h: what publishing costs a producer",
    "i": "i: what a pod pays for one event from the broker, before viewers",
    "w": "w: one process and two, on all cores beside the load",
    "k": "k: 100,000 connects and disconnects",
}
_HEAD = (
    "| system | placement | variant | delivered | events/s | p50 | p90 | p99 | p99.9 ms "
    "| CPU, % of a core | RSS, MiB | p99: ours / this | more |"
)


def markdown(results: Results) -> str:
    """Return all tables, with the machine they come from."""
    return "\n".join([*_machine(results), *_tables(results), *_absent(results)]) + "\n"


def peak(rows: Iterable[Row]) -> dict[tuple[str, str, str], float]:
    """Return the highest rate each system held, by (cell, system, placement)."""
    best: dict[tuple[str, str, str], float] = {}
    for row in rows:
        if row.cell in "bc" and kept_up(row):
            key = (row.cell, row.system, row.placement)
            best[key] = max(best.get(key, 0.0), row.events_per_second or 0.0)
    return best


def most(rows: Iterable[Row], cell: str) -> dict[tuple[str, str], float]:
    """Return the most deliveries per second seen in a cell, by (system, placement), kept up or not."""
    best: dict[tuple[str, str], float] = {}
    for row in rows:
        if row.cell == cell:
            key = (row.system, row.placement)
            best[key] = max(best.get(key, 0.0), row.events_per_second or 0.0)
    return best


def _machine(results: Results) -> Iterator[str]:
    facts = results.machine
    yield f"{results.date}, {results.form} form. {facts['cpu']}, {facts['cores']} cores, {facts['memory_gib']} GiB, "
    busy = " -> ".join(map(str, results.load_average))
    yield f"Linux {facts['kernel']}, Python {facts['python']}; load average {busy}."
    yield ""
    yield "Versions: " + ", ".join(f"{name} {version}" for name, version in results.systems.items()) + "."
    yield ""
    yield "`together`: all of a system on one core, the load on the other. `apart`: the broker has the load's core."


def _tables(results: Results) -> Iterator[str]:
    for cell, title in TITLES.items():
        rows = [row for row in results.rows if row.cell == cell]
        if not rows:
            continue
        yield f"\n## {title}\n"
        if cell in "bc":
            yield from _peaks(rows, cell)
        yield _HEAD
        yield "|" + "---|" * (_HEAD.count("|") - 1)
        for row in rows:
            yield _row(row, rows)


def _peaks(rows: list[Row], cell: str) -> Iterator[str]:
    seen = most(rows, cell)
    for (_, system, placement), rate in peak(rows).items():
        top = seen[system, placement]
        yield f"* {system}, {placement}: kept up with {rate:,.0f} deliveries/s; most seen {top:,.0f}"
    yield ""


def _row(row: Row, rows: list[Row]) -> str:
    same = [r for r in rows if r.system == OURS and r.variant == row.variant and r.placement == "together"]
    against = ratio(same[0].p99_ms, row.p99_ms) if same and row.system != OURS else None
    cells = [
        row.system,
        row.placement,
        row.variant,
        "" if row.delivered_share is None else f"{row.delivered_share * 100:.2f} %",
        _number(row.events_per_second, 0),
        *(_number(value, 2) for value in (row.p50_ms, row.p90_ms, row.p99_ms, row.p999_ms)),
        ", ".join(f"{name} {share * 100:.0f}" for name, share in row.cpu.items()),
        ", ".join(f"{name} {mib:.0f}" for name, mib in row.rss_mib.items()),
        _number(against, 2),
        ", ".join(f"{name} {value}" for name, value in row.extra.items() if value not in (0, None)),
    ]
    return "| " + " | ".join(cells) + " |"


def _absent(results: Results) -> Iterator[str]:
    if results.absent:
        yield "\n## Not measured\n"
        for where, why in results.absent.items():
            yield f"* {where}: {why}"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"
