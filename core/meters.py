"""What a process counts and times, for Prometheus: declared here, counted where it happens, shown by `/metrics`.

A meter is a plain dictionary of numbers, because it is touched on the way of every request.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

#: Upper bounds of the classes that durations are counted in, in seconds.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

Labels = tuple[str, ...]


@dataclass(eq=False)
class Meter:
    """Numbers under one name, by the values of its `labels`; `help` says what they are."""

    kind: ClassVar[str] = "untyped"

    name: str
    help: str
    labels: Labels = ()
    values: dict[Labels, Any] = field(default_factory=dict)

    def samples(self) -> list[tuple[Labels, Any]]:
        """What has been counted so far."""
        return list(self.values.items())


class Counter(Meter):
    """Something that only grows; its name ends in `_total`."""

    kind = "counter"

    def add(self, *labels: str, by: float = 1) -> None:
        """Count what has happened once, or `by` at once."""
        self.values[labels] = self.values.get(labels, 0) + by


class Gauge(Meter):
    """Something that rises and falls."""

    kind = "gauge"

    def set(self, value: float, *labels: str) -> None:
        """Say what it is now."""
        self.values[labels] = value

    def add(self, by: float, *labels: str) -> None:
        """Let it rise, or fall where `by` is below nothing."""
        self.values[labels] = self.values.get(labels, 0) + by


class Histogram(Meter):
    """Durations in seconds; a value is the counts by class, the last of them open, and then the sum."""

    kind = "histogram"

    def observe(self, seconds: float, *labels: str) -> None:
        """Count a duration."""
        found = self.values.get(labels)
        if found is None:
            found = self.values[labels] = [0] * (len(BUCKETS) + 1) + [0.0]
        found[bisect_left(BUCKETS, seconds)] += 1
        found[-1] += seconds


STATEMENTS = Histogram(
    "crm_statement_seconds",
    "Seconds that the SQL statements of reads took, waiting for a connection included.",
)
MUTATIONS = Histogram("crm_mutation_seconds", "Seconds that mutations took, their transactions and waits included.")
PLANS = Counter("crm_plans_total", "Looks for the finished plan of a query, by outcome: hit or miss.", ("outcome",))
CHANGE_SETS = Counter("crm_change_sets_total", "Committed change sets by source.", ("source",))
ROWS = Counter("crm_rows_written_total", "Records written by committed change sets, by action.", ("action",))
JOBS = Counter("crm_job_attempts_total", "Ended attempts at jobs by kind and status.", ("kind", "status"))
RATE_LIMITED = Counter("crm_rate_limited_total", "Requests over a rate limit, by whose it was.", ("whose",))
RECONNECTS = Counter("crm_listener_reconnects_total", "Times that the connection for notifications was made anew.")
EVENTS = Counter("crm_events_total", "Events that were put before subscribers.")
DROPPED = Counter("crm_subscribers_dropped_total", "Subscribers who took events more slowly than they came.")

#: What every process counts, in the order in which it is shown. A room that counts more of its own adds to it.
REPLICA_READS = Counter(
    "crm_replica_reads_total", "Reads that tolerate a replica, by who answered them: replica or primary.", ("served",)
)
METERS: list[Meter] = [
    STATEMENTS,
    REPLICA_READS,
    MUTATIONS,
    PLANS,
    CHANGE_SETS,
    ROWS,
    JOBS,
    RATE_LIMITED,
    RECONNECTS,
    EVENTS,
    DROPPED,
]


def committed(source: str, touched: Iterable[Any]) -> None:
    """Count a committed change set; `touched` are its counts by action, of each record type."""
    CHANGE_SETS.add(source)
    for counts in touched:
        for action, count in counts.items():
            ROWS.add(action, by=count)


#: A meter as it travels between processes: kind, name, help, names of labels, and samples.
Snapshot = list[Any]


def snapshot(meters: Iterable[Meter]) -> list[Snapshot]:
    """What meters say, as plain JSON."""
    return [[m.kind, m.name, m.help, list(m.labels), [[list(k), v] for k, v in m.samples()]] for m in meters]


def merged(snapshots: Iterable[Sequence[Snapshot]]) -> list[Snapshot]:
    """What several processes say, added up."""
    found: dict[str, Snapshot] = {}
    for one in snapshots:
        for kind, name, help_, labels, samples in one:
            known = found.setdefault(name, [kind, name, help_, labels, {}])[4]
            for values, value in samples:
                key = tuple(values)
                if isinstance(value, list) and key in known:
                    known[key] = [a + b for a, b in zip(known[key], value, strict=True)]
                else:
                    known[key] = value if isinstance(value, list) else known.get(key, 0) + value
    return [[*meter[:4], list(meter[4].items())] for meter in found.values()]


def text(snapshots: Iterable[Snapshot]) -> str:
    """Snapshots in the text format of Prometheus."""
    lines: list[str] = []
    for kind, name, help_, labels, samples in snapshots:
        lines += (f"# HELP {name} {help_}", f"# TYPE {name} {kind}")
        for values, value in samples:
            given = dict(zip(labels, values, strict=True))
            if kind == "histogram":
                _histogram(lines, name, given, value)
            else:
                lines.append(_sample(name, given, value))
        if kind == "counter" and not labels and not samples:
            lines.append(_sample(name, {}, 0))
    return "\n".join(lines) + "\n"


def _histogram(lines: list[str], name: str, labels: dict[str, str], value: list[float]) -> None:
    total: float = 0
    for bound, count in zip((*BUCKETS, "+Inf"), value[:-1], strict=True):
        total += count
        lines.append(_sample(f"{name}_bucket", {**labels, "le": str(bound)}, total))
    lines.append(_sample(f"{name}_sum", labels, round(value[-1], 6)))
    lines.append(_sample(f"{name}_count", labels, total))


def _sample(name: str, labels: dict[str, str], value: float) -> str:
    inside = ",".join(f'{k}="{_escape(v)}"' for k, v in labels.items())
    return f"{name}{{{inside}}} {value}" if inside else f"{name} {value}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
