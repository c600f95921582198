"""``python -m bench``: run it, or render results that are there."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from pathlib import Path

from bench.loadclient import ROOT, compiled
from bench.peers import registry
from bench.report import markdown
from bench.results import Results
from bench.run import LONG_CELLS, SHORT_CELLS, Choice, execute
from bench.summary import update
from bench.svg import picture


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("form", choices=("short", "long", "render"), help="render: only tables and pictures again")
    parser.add_argument("--cells", help="only these cells, for example ag")
    parser.add_argument("--systems", help="only these systems, by name, with commas")
    parser.add_argument("--repeat", type=int, default=1, help="each cell so many times, systems interleaved")
    parser.add_argument("--name", help="of the result files; the form's name by default")
    parser.add_argument("--priority", type=int, default=-15, help="nice value for all parts, where it is allowed")
    return parser.parse_args()


def _render(directory: Path, name: str) -> None:
    results = Results.from_json((directory / f"{name}.json").read_text())
    (directory / f"{name}.svg").write_text(picture(results))
    text = f"# Results, {name}\n\nMade by `python -m bench`; how to read it: `docs/performance.md`.\n\n"
    (directory / f"{name}.md").write_text(text + f"![{name}]({name}.svg)\n\n" + markdown(results))


def _page(directory: Path) -> None:
    page, best = ROOT.parent / "docs" / "performance.md", directory / "long.json"
    if page.exists() and best.exists():
        update(page, Results.from_json(best.read_text()), best.stem)


def main() -> int:
    """Run the benchmark; 0 when every chosen system took part."""
    arguments = _arguments()
    directory = ROOT / "results"
    if arguments.form == "render":
        for path in sorted(directory.glob("*.json")):
            _render(directory, path.stem)
        _page(directory)
        return 0
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # ends what was started
    with contextlib.suppress(PermissionError):
        os.nice(arguments.priority)  # other work on the machine is not what is measured
    compiled()
    short = arguments.form == "short"
    systems = registry.SHORT if short else registry.LONG
    if arguments.systems:
        wanted = set(arguments.systems.split(","))
        systems = tuple(system for system in registry.LONG if system.name in wanted)
    cells = arguments.cells or (SHORT_CELLS if short else LONG_CELLS)
    name = arguments.name or arguments.form
    path = directory / f"{name}.json"
    results = execute(Choice(arguments.form, systems, cells, arguments.repeat), lambda so_far: so_far.save(path))
    results.save(path)
    _render(directory, name)
    _page(directory)
    print((directory / f"{name}.md").read_text())
    return 1 if any(key.endswith("/all") for key in results.absent) else 0


if __name__ == "__main__":
    sys.exit(main())
