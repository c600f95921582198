"""The six faults as schedules: a seed in, the same steps out, whatever the machine does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

GATEWAYS = 2
LINK_MODES = ("cut", "freeze", "blackhole", "forget")

# A new run supersedes the old one; a resume goes on with it.
TAKEOVERS = ("start", "resume")


@dataclass(frozen=True, slots=True)
class Step:
    """One thing done to the system.

    Attributes:
        at_seconds: Since the producers were ready.
        action: The name of a deed (`bench.faults.deeds`).
        target: Which stream, gateway, producer or viewer process, by number.
        mode: The kind of link fault or of takeover, else empty.
    """

    at_seconds: float
    action: str
    target: int
    mode: str = ""


@dataclass(frozen=True, slots=True)
class Writers:
    """One producer process: sessions of its own, at a rate of events a second each."""

    sessions: int = 4
    rate: float = 20.0
    event_bytes: int = 24


@dataclass(frozen=True, slots=True)
class Watchers:
    """One viewer process, with one viewer for every session.

    Attributes:
        role: As in `bench.faults.viewer.ViewerPlan`.
        spread_seconds: Viewers attach at random within this time.
        hang_up_every_seconds: Mean time between their own reconnects; 0 = never.
        receive_buffer_bytes: Small ones make a stalled reader felt at once; 0 = the system's.
    """

    role: str = "steady"
    spread_seconds: float = 0.0
    hang_up_every_seconds: float = 0.0
    receive_buffer_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Schedule:
    """One run: who writes, who watches, what is done, and how long writing goes on after the last step."""

    fault: str
    steps: tuple[Step, ...]
    writers: tuple[Writers, ...] = (Writers(), Writers(), Writers())
    watchers: tuple[Watchers, ...] = (Watchers(), Watchers(spread_seconds=1.0), Watchers(spread_seconds=6.0))
    after_seconds: float = 2.0


def leader_kill(rng: Random, streams: int) -> Schedule:
    """SIGKILL the node that leads a stream; it comes back while the others elect."""
    at = rng.uniform(0.5, 2.0)
    target = rng.randrange(streams)
    back = at + rng.uniform(3.0, 6.0)
    return Schedule("leader-kill", (Step(at, "kill leader", target), Step(back, "start node", 0)), after_seconds=3.0)


def planned_change(rng: Random, streams: int) -> Schedule:
    """Step-downs of random streams, then a node drained with lame duck and started again."""
    steps, at = [], rng.uniform(0.5, 1.0)
    for _ in range(4):
        steps.append(Step(at, "step down", rng.randrange(streams)))
        at += rng.uniform(0.1, 0.5)
    steps.append(Step(at, "lame duck", rng.randrange(3)))
    steps.append(Step(at + 0.1, "start node", 0))
    return Schedule("planned-change", tuple(steps))


def gateway_kill(rng: Random, streams: int) -> Schedule:
    """SIGKILL a gateway under its viewers; sometimes the other one, too, once the first is back."""
    at, first = rng.uniform(0.5, 1.5), rng.randrange(GATEWAYS)
    steps = [Step(at, "kill gateway", first), Step(at + rng.uniform(0.5, 2.5), "start gateway", first)]
    if rng.random() < 0.3:
        at = steps[-1].at_seconds + rng.uniform(1.0, 2.0)
        other = (first + 1) % GATEWAYS
        steps += [Step(at, "kill gateway", other), Step(at + rng.uniform(0.5, 2.5), "start gateway", other)]
    return Schedule("gateway-kill", tuple(steps), after_seconds=3.0)


def link_cut(rng: Random, streams: int) -> Schedule:
    """All links of one gateway to NATS reset, frozen, black-holed or forgotten for a while, then healed."""
    at, gateway = rng.uniform(0.5, 1.5), rng.randrange(GATEWAYS)
    back = at + rng.choice((rng.uniform(0.2, 1.5), rng.uniform(2.0, 7.0)))
    mode = rng.choice(LINK_MODES)
    return Schedule(
        "link-cut", (Step(at, "link", gateway, mode), Step(back, "link", gateway, "heal")), after_seconds=3.0
    )


def bad_viewers(rng: Random, streams: int) -> Schedule:
    """A viewer process that stops reading, one that is killed, one that hangs up again and again; large events."""
    stop, kill = rng.uniform(0.5, 1.5), rng.uniform(1.0, 3.0)
    steps = [
        Step(stop, "stop viewers", 1),
        Step(kill, "kill viewers", 2),
        Step(stop + rng.uniform(3.0, 5.0), "continue viewers", 1),
    ]
    return Schedule(
        "bad-viewers",
        tuple(sorted(steps, key=lambda step: step.at_seconds)),
        # More in the time of a stop than a gateway's ring or any socket buffer holds.
        writers=(Writers(2, 60.0, 24_000), Writers(2, 25.0, 24)),
        watchers=(
            Watchers(),
            Watchers("rude", receive_buffer_bytes=4096),
            Watchers("vanished"),
            Watchers("rude", spread_seconds=2.0, hang_up_every_seconds=0.7),
        ),
        after_seconds=1.0,
    )


def dead_producer(rng: Random, streams: int) -> Schedule:
    """One producer killed, one stopped until it is judged lost, one stopped and taken over; both are woken then."""
    kill, stop, over = (rng.uniform(0.5, 2.0) for _ in range(3))
    steps = [
        Step(kill, "kill producer", 0),
        Step(stop, "stop producer", 1),
        Step(over, "stop producer", 2),
        Step(over + rng.uniform(0.2, 1.5), "take over", 2, rng.choice(TAKEOVERS)),
        Step(over + rng.uniform(2.0, 3.0), "continue producer", 2),
    ]
    steps.sort(key=lambda step: step.at_seconds)
    last = steps[-1].at_seconds
    steps += [Step(last, "await lost", 1), Step(last, "continue producer", 1)]
    return Schedule("dead-producer", tuple(steps), writers=(Writers(3), Writers(3), Writers(3), Writers(3)))


def storm(rng: Random, streams: int) -> Schedule:
    """Much of it at once; not one of the six, for whoever hunts: ``python -m bench.faults --fault storm``."""
    victim, kill = rng.randrange(GATEWAYS), rng.uniform(0.5, 3.0)
    link, cut = (victim + 1) % GATEWAYS, rng.uniform(0.5, 4.0)
    leader, stop = rng.uniform(0.5, 4.0), rng.uniform(0.5, 2.0)
    steps = [
        Step(leader, "kill leader", rng.randrange(streams)),
        Step(leader + rng.uniform(1.0, 5.0), "start node", 0),
        Step(kill, "kill gateway", victim),
        Step(kill + rng.uniform(0.5, 3.0), "start gateway", victim),
        Step(cut, "link", link, rng.choice(LINK_MODES)),
        Step(cut + rng.uniform(0.3, 5.0), "link", link, "heal"),
        Step(stop, "stop viewers", 1),
        Step(stop + rng.uniform(1.0, 6.0), "continue viewers", 1),
        Step(rng.uniform(1.0, 5.0), "kill viewers", 2),
    ]
    watchers = (Watchers(), Watchers("rude", receive_buffer_bytes=4096), Watchers("vanished"))
    return Schedule(
        "storm",
        tuple(sorted(steps, key=lambda step: step.at_seconds)),
        writers=(Writers(3), Writers(2, 40.0, 12_000)),
        watchers=(*watchers, Watchers("rude", spread_seconds=4.0, hang_up_every_seconds=1.0)),
        after_seconds=3.0,
    )


FAULTS: dict[str, Callable[[Random, int], Schedule]] = {
    "leader-kill": leader_kill,
    "planned-change": planned_change,
    "gateway-kill": gateway_kill,
    "link-cut": link_cut,
    "bad-viewers": bad_viewers,
    "dead-producer": dead_producer,
}


def schedule(fault: str, seed: int, run: int, streams: int) -> Schedule:
    """The schedule of one run; a pure function of its arguments.

    Args:
        fault: A key of `FAULTS`, or ``storm``.
        seed: The seed of the whole series.
        run: The number of the run.
        streams: How many streams there are to choose from.
    """
    return (FAULTS | {"storm": storm})[fault](Random(f"{seed}/{fault}/{run}"), streams)
