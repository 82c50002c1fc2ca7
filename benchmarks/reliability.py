"""`make reliability`: what a device survives, counted; and the mutants that each suite must catch.

Simulated power cuts in every operation and in the starts after them, real cuts on ext4, every system call failed,
flipped bits and other damage, full disks, little memory, wrong clocks, crowds of killed processes, a long life. Every
suite also runs against faults put into the code on purpose. Exits 1 when a figure misses. About an hour on two cores;
what is done is kept in build/reliability, so that a run that was stopped goes on there while the runtime and the suites
are the same. `--short` takes minutes, keeps nothing and writes no evidence.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.evidence import ROOT, write_evidence
from benchmarks.parts import Parts, digest_of, named_by
from tests.faults.calls import Server, fail_calls
from tests.faults.crashes import simulate
from tests.faults.crowd import crowd
from tests.faults.cuts import MOUNTS, cut_power, loop_missing
from tests.faults.damage import BASES, KINDS, Damage, harm
from tests.faults.ground import Ground, made_ground
from tests.faults.mutants import CRASH_MUTANTS, CUT_MUTANTS, MUTANTS
from tests.faults.scarcity import namespaces_missing, scarce, told_by_clocks
from tests.faults.scripts import SCRIPTS
from tests.faults.soak import soak
from tests.faults.tracing import strace_missing

Figures = dict[str, Any]
MIB = 1 << 20
PROMISED_START_S = 2.0
MOST_GROWTH_BYTES = 2 * MIB


@dataclass(frozen=True)
class Size:
    """How much of each suite is run."""

    crash_states: int
    restarts: int
    cuts: int
    flips: int
    others: int
    every: int
    changes: int
    predictions: int
    learns: int
    room: int


FULL = Size(200_000, 8, 510, 10_000, 1000, 3, 1000, 1_000_000, 100_000, 4)
SHORT = Size(1500, 1, 15, 200, 30, 60, 30, 6000, 600, 80)


def crash_states(ground: Ground, size: Size, parts: Parts) -> Figures:
    """Every operation, and the starts after its cuts: points, prefixes of names, outcomes of unsynced writes.

    Cuts that leave the same disk are judged by one start on it. `crash_states` counts these different disks;
    `crash_states_drawn` all cuts.
    """
    by: dict[str, Figures] = {}
    left = size.crash_states
    for number, name in enumerate(SCRIPTS):
        least = -(-left // (len(SCRIPTS) - number))
        draws = {"draws": 8, "restart_draws": 2 * size.restarts, "least": least, "onward": 4}

        def run(name: str = name, draws: dict[str, int] = draws) -> Figures:
            return vars(simulate(name, ground, restarts=size.restarts, **draws))

        by[name] = found = parts.take(f"crash states: {name}", (size.restarts, draws), run)
        left = max(0, left - found["distinct"] - found["restarts_distinct"])
        said = f"{found['distinct']:,} different disks, {found['restarts_distinct']:,} of starts that were cut"
        print(f"  {name:<24} {said}, {len(found['violations'])} violations", flush=True)
    return {
        "crash_states": sum(one["distinct"] + one["restarts_distinct"] for one in by.values()),
        "crash_violations": sum(len(one["violations"]) for one in by.values()),
        "crash_states_drawn": sum(one["enumerated"] + one["restarts"] for one in by.values()),
        "crash_states_of_cut_starts": sum(one["restarts_distinct"] for one in by.values()),
        "crash_slowest_start_s": max(one["slowest_s"] for one in by.values()),
        "crash_by_operation": by,
    }


def power_cuts(ground: Ground, size: Size, parts: Parts) -> Figures:
    """Real cuts, a third with each way to mount."""
    each = size.cuts // len(MOUNTS)
    found: dict[str, Figures] = {}
    for mounts in MOUNTS:

        def run(mounts: str = mounts) -> Figures:
            return vars(cut_power(ground, each, mounts=mounts))

        found[mounts] = one = parts.take(f"power cuts: {mounts}", each, run)
        print(f"  {mounts:<34} {one['cuts']} cuts, {len(one['violations'])} violations", flush=True)
    return {
        "power_cuts": sum(one["cuts"] for one in found.values()),
        "power_cut_violations": sum(len(one["violations"]) for one in found.values()),
        "power_cuts_within_an_operation": sum(one["busy"] for one in found.values()),
        "power_cut_slowest_start_s": max(one["slowest_s"] for one in found.values()),
        "power_cuts_by_mount": found,
    }


def failed_calls(ground: Ground, size: Size, parts: Parts) -> Figures:
    """Every kind of call of every operation, each fault that it can have."""
    by: dict[str, Figures] = {}
    with Server(ground) as server:
        for name in SCRIPTS:

            def run(name: str = name) -> Figures:
                return vars(fail_calls(server, [name], every=size.every))

            by[name] = one = parts.take(f"failed calls: {name}", size.every, run)
            print(f"  {name:<26} {one['fired']} fired, {len(one['violations'])} violations", flush=True)
    kinds = ("fired", "died", "refused", "unseen", "kept")
    violations = [line for one in by.values() for line in one["violations"]]
    return {
        **{f"syscall_faults_{kind}": sum(one[kind] for one in by.values()) for kind in kinds},
        "syscall_violations": len(violations),
        "syscall_examples": violations[:20],
    }


def damage(ground: Ground, size: Size, parts: Parts) -> Figures:
    """Flipped bits of the store, and all other damage."""
    by: dict[str, Figures] = {}
    for kind in KINDS:
        count = size.flips if kind == "a bit of the store" else size.others
        plan = [Damage(kind, base, i) for base in BASES for i in range(count // len(BASES))]

        def run(kind: str = kind, plan: list[Damage] = plan) -> Figures:
            return vars(harm(ground, plan)[kind])

        by[kind] = one = parts.take(f"damage: {kind}", count, run)
        said = " ".join(f"{name} {one[name]:,}" for name in ("cases", "started", "same", "noted", "older", "silent"))
        print(f"  {kind:<26} {said}", flush=True)
    stores = {kind: one for kind, one in by.items() if kind != "a bit of the bundle"}
    return {
        "bit_flips": by["a bit of the store"]["cases"],
        "silent_differences": sum(one["silent"] + one["forgot"] for one in by.values()),
        "corrupted_stores": sum(one["cases"] for one in stores.values()),
        "corrupted_stores_started": sum(one["started"] for one in stores.values()),
        "damage_violations": sum(len(one["violations"]) for one in by.values()),
        "damage_slowest_start_s": max(one["slowest_s"] for one in by.values()),
        "damage_by_kind": by,
    }


def scarcity(ground: Ground, size: Size, parts: Parts) -> Figures:
    """Full disks, files that may not grow, little memory, a read-only disk, wrong clocks."""
    found: Figures = parts.take("scarcity", size.room, lambda: _scarcity(ground, size))
    return found


def _scarcity(ground: Ground, size: Size) -> Figures:
    kinds = {"disk": range(48, 1000, size.room), "file": range(4, 400, size.room), "memory": range(0, 16000, 1000)}
    found = {kind: scarce(kind, ground, list(amounts)) for kind, amounts in kinds.items()}
    found["readonly"] = scarce("readonly", ground, [0])
    clocks = told_by_clocks(ground)
    told = [(kind, line) for kind, lines in found.items() for line in lines]
    wrong = [f"{kind} {line['amount']}: {line['wrong']}" for kind, line in told if line["wrong"]]
    wrong += [f"clock {name}" for name, one in clocks.items() if one["wrong"] or one["view"] != clocks["right"]["view"]]
    tried = {kind: len(lines) for kind, lines in found.items()}
    refused = {kind: sum(bool(line["refused"]) for line in lines) for kind, lines in found.items()}
    return {"scarcity": {"tried": tried, "refused": refused, "clocks": list(clocks)}, "scarcity_violations": wrong}


def crowds(ground: Ground, size: Size, parts: Parts) -> Figures:
    """Eight processes on one state."""
    found = parts.take("a crowd", size.changes, lambda: vars(crowd(ground, size.changes)))
    refused = sorted(found["refusals_s"])
    return {
        "crowd": {
            **{name: found[name] for name in ("kills", "changes", "reads")}, "refused_writers": len(refused),
            "refusal_median_ms": 1e3 * refused[len(refused) // 2], "refusal_slowest_ms": 1e3 * refused[-1],
        },
        "crowd_violations": found["violations"],
    }  # fmt: skip


def long_life(ground: Ground, size: Size, parts: Parts) -> Figures:
    """Predictions and learnt samples, measured all along."""
    asked = size.predictions, size.learns
    found = parts.take("a long life", asked, lambda: vars(soak(ground, *asked)))
    return {
        "soak_predictions": found["predictions"],
        "soak_learns": found["learns"],
        "soak_rss_growth_bytes": round(found["growth"]["rss_bytes"]),
        "soak": found,
    }


def mutants(ground: Ground, size: Size, parts: Parts) -> Figures:
    """Each suite against the faults that it must show: caught or not, by suite and fault."""
    plan = [Damage("a bit of the live head", base, i) for base in BASES for i in range(40)]

    def short_write() -> int:
        with Server(ground, "short write ignored") as server:
            return len(fail_calls(server, ["trust"], calls="write").violations)

    cut = () if loop_missing() else CUT_MUTANTS
    suites: dict[str, Callable[[], int]] = {
        **{f"crash states: {name}": lambda name=name: _simulated(ground, name) for name in CRASH_MUTANTS},
        **{f"power cuts: {name}": lambda name=name: _cut(ground, name) for name in cut},
        "system calls: short write ignored": short_write,
        "damage: no hash check": lambda: harm(ground, plan, "no hash check")["a bit of the live head"].silent,
        "full disk: no room kept": lambda: _filled(ground, "no room kept"),
        "clock: order by the clock": lambda: _jumped(ground, "order by the clock"),
        "soak: a leak": lambda: int(soak(ground, 6000, 600, "a leak").growth["rss_bytes"] > 6 * MOST_GROWTH_BYTES),
        "crowd: no lock": lambda: len(crowd(ground, 60, mutant="no lock").violations),
    }
    found = {}
    for name, run in suites.items():
        found[name] = parts.take(f"mutants: {name}", "", run)
        print(f"  {name:<50} {'caught' if found[name] else 'NOT CAUGHT'} ({found[name]} times)", flush=True)
    caught = sum(count > 0 for count in found.values())
    return {"mutants": len(found), "mutants_caught": caught, "mutants_by_suite": found}


def _simulated(ground: Ground, name: str) -> int:
    return len(simulate(MUTANTS[name].script, ground, draws=8, mutant=name, most=200).violations)


def _cut(ground: Ground, name: str) -> int:
    return len(cut_power(ground, 24, mounts=MOUNTS[1], mutant=name).violations)


def _filled(ground: Ground, name: str) -> int:
    return sum(bool(line["wrong"]) for line in scarce("disk", ground, [440, 480], name))


def _jumped(ground: Ground, name: str) -> int:
    return len(told_by_clocks(ground, name)["back in the middle"]["wrong"])


SUITES: dict[str, tuple[Callable[[Ground, Size, Parts], Figures], Callable[[], str]]] = {
    "crash states, simulated": (crash_states, strace_missing),
    "power cuts on ext4": (power_cuts, loop_missing),
    "failed system calls": (failed_calls, strace_missing),
    "damaged states": (damage, str),
    "scarcity": (scarcity, namespaces_missing),
    "a crowd of processes": (crowds, str),
    "a long life": (long_life, str),
    "mutants": (mutants, lambda: strace_missing() or namespaces_missing()),
}

# What a part is made of, by the first words of its name.
MODULES = {
    "crash states": ("crashes",), "power cuts": ("cuts",), "failed calls": ("calls",), "damage": ("damage",),
    "scarcity": ("scarcity",), "a crowd": ("crowd",), "a long life": ("soak",),
    "mutants": ("crashes", "cuts", "calls", "damage", "scarcity", "crowd", "soak"),
}  # fmt: skip


def _code() -> dict[str, str]:
    """What each part's figures are of: the runtime, and the modules of its suite."""
    runtime = set((ROOT / "runtime" / "edgetl_runtime").rglob("*.py"))
    return {
        part: digest_of(ROOT, runtime.union(*(named_by(ROOT / "tests" / "faults" / f"{name}.py") for name in modules)))
        for part, modules in MODULES.items()
    }


def missed(figures: Figures, size: Size) -> list[str]:
    """What is not as it was promised."""
    found = []
    for name, least in (("crash_states", size.crash_states), ("power_cuts", size.cuts - 3), ("bit_flips", size.flips)):
        if name in figures and figures[name] < least:
            found.append(f"{name}: {figures[name]:,}, not {least:,}")
    for name in ("crash", "power_cut", "syscall", "damage", "scarcity", "crowd"):
        violations = figures.get(f"{name}_violations", 0)
        if violations:
            found.append(f"{name}: {violations} violations")
    if figures.get("silent_differences", 0):
        found.append(f"{figures['silent_differences']} silent differences")
    started, stores = figures.get("corrupted_stores_started"), figures.get("corrupted_stores")
    if started != stores:
        found.append(f"{started} of {stores} corrupted stores started")
    for name in ("crash", "power_cut", "damage"):
        slowest = figures.get(f"{name}_slowest_start_s", 0.0)
        if slowest >= PROMISED_START_S:
            found.append(f"{name}: the slowest start took {slowest:.2f} s, not {PROMISED_START_S}")
    if figures.get("mutants_caught") != figures.get("mutants"):
        found.append(f"{figures['mutants_caught']} of {figures['mutants']} mutants caught")
    if figures.get("soak_rss_growth_bytes", 0) > MOST_GROWTH_BYTES:
        found.append(f"memory grew by {figures['soak_rss_growth_bytes'] / MIB:.1f} MiB in the soak")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="a few of each, and no evidence")
    parser.add_argument("--only", choices=SUITES, action="append", help="these suites, and no evidence")
    chosen = parser.parse_args()
    size = SHORT if chosen.short else FULL
    logging.disable(logging.WARNING)  # of bundles that are not signed
    code = _code()
    parts = Parts(None if chosen.short else ROOT / "build" / "reliability", code)
    figures: Figures = {"code": code, "not_run": {}}
    with made_ground() as ground:
        for name, (run, missing) in SUITES.items():
            if chosen.only and name not in chosen.only:
                continue
            why = missing()
            print(f"{name}{': not run, ' + why if why else ''}", flush=True)
            if why:
                figures["not_run"][name] = why
                continue
            figures.update(run(ground, size, parts))
    figures["seconds"] = parts.seconds
    figures["missed"] = missed(figures, size)
    figures["missed"] += [f"{name} was not run: {why}" for name, why in figures["not_run"].items()]
    if parts.kept:
        print(f"\n{len(parts.kept)} of {len(parts.seconds)} parts were kept from an earlier run of the same code")
    print("\n" + "\n".join(f"| {name} | {value} |" for name, value in _table(figures)))
    print(f"\nMISSED: {'; '.join(figures['missed'])}" if figures["missed"] else "\nevery figure is as promised")
    if not chosen.short and not chosen.only:
        path = write_evidence("reliability", figures)
        print(f"written to {path.relative_to(ROOT)}")
    return 1 if figures["missed"] else 0


def _table(figures: Figures) -> list[tuple[str, str]]:
    shown = [(name, f"{value:,}") for name, value in figures.items() if isinstance(value, int)]
    shown += [(name, f"{value:.3f}") for name, value in figures.items() if isinstance(value, float)]
    return [*shown, ("seconds", f"{sum(figures['seconds'].values()):.0f}")]


if __name__ == "__main__":
    sys.exit(main())
