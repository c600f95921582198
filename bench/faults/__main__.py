"""The long form: every fault many times, the results kept, the page written.

``python -m bench.faults --runs 20 --page docs/reliability.md``. A run in which anything is wrong is named with its
seed, its logs are kept, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from pathlib import Path
from random import SystemRandom
from typing import Any

from bench.faults import report, results
from bench.faults.run import run_once
from bench.faults.schedule import FAULTS
from bench.faults.world import World


async def series(world: World, faults: list[str], runs: range, seed: int, save: Path, again: list[Any]) -> bool:
    """Run each fault in turn, save after each run, and say whether all was well."""
    well = True
    for run in runs:
        for fault in faults:
            outcome = await run_once(world, fault, seed, run)
            print(outcome.line(), flush=True)
            again.append(results.as_json(outcome))
            results.save(save, again)
            directory = world.directory / f"{fault}-{run}"
            if outcome.good:
                await asyncio.to_thread(shutil.rmtree, directory)
            else:
                well = False
                print(f"  seed {seed}, logs kept in {directory}\n{outcome.verdict.text()}", flush=True)
    return well


async def main(arguments: argparse.Namespace) -> int:
    """Run the series in a fresh directory, which goes when nothing was wrong."""
    directory = Path(tempfile.mkdtemp(prefix="holdfast-faults-"))
    faults = arguments.fault or list(FAULTS)
    print(f"seed {arguments.seed}, logs in {directory}", flush=True)
    again = arguments.earlier
    well = False
    try:
        async with World(directory) as world:
            runs = range(arguments.first, arguments.first + arguments.runs)
            well = await series(world, faults, runs, arguments.seed, arguments.results, again)
    finally:
        if not well:
            print(f"seed {arguments.seed}, logs kept in {directory}", flush=True)
    if well:
        shutil.rmtree(directory)
    return 0 if well else 1


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(10**6))
    parser.add_argument("--runs", type=int, default=20, help="of each fault")
    parser.add_argument("--first", type=int, default=0, help="number of the first run")
    parser.add_argument("--fault", action="append", choices=[*FAULTS, "storm"], help="only this one; may be repeated")
    parser.add_argument("--results", type=Path, default=Path("bench/faults/results.json"))
    parser.add_argument("--append", action="store_true", help="keep what the results file holds")
    parser.add_argument("--page", type=Path, help="write the page from the results")
    arguments = parser.parse_args()
    arguments.earlier = []
    if arguments.append and arguments.results.exists():
        arguments.earlier = json.loads(arguments.results.read_text())["outcomes"]
    return arguments


if __name__ == "__main__":
    parsed = parse()
    status = asyncio.run(main(parsed)) if parsed.runs else 0
    if parsed.page:
        report.write(parsed.results, parsed.page)
    sys.exit(status)
