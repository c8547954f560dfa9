"""Counters of this process, in the text format of Prometheus."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
#: Operation names come from clients, so only this many are told apart.
NAMES = 200
_OTHERS = "(others)"


class Metrics:
    """Requests by kind and outcome, by operation, and how long they took."""

    def __init__(self) -> None:
        self.outcomes: dict[tuple[str, int], int] = {}
        self.operations: dict[str, int] = {}
        self.errors: dict[str, int] = {}
        self.statements = 0
        self.seconds = 0.0
        self._buckets = [0] * (len(BUCKETS) + 1)

    def request(
        self, kind: str, status: int, operation: str, codes: Iterable[str], statements: int, seconds: float
    ) -> None:
        """Count one GraphQL request."""
        key = (kind, status)
        self.outcomes[key] = self.outcomes.get(key, 0) + 1
        if operation not in self.operations and len(self.operations) >= NAMES:
            operation = _OTHERS
        self.operations[operation] = self.operations.get(operation, 0) + 1
        for code in codes:
            self.errors[code] = self.errors.get(code, 0) + 1
        self.statements += statements
        self.seconds += seconds
        self._buckets[bisect_left(BUCKETS, seconds)] += 1

    def text(self, gauges: Iterable[tuple[str, str, dict[str, str], float]] = ()) -> str:
        """Everything as text; `gauges` are (name, help, labels, value), those of one name together."""
        lines: list[str] = []
        _family(lines, "crm_requests_total", "counter", "GraphQL requests by kind and HTTP status.")
        for (kind, status), count in self.outcomes.items():
            lines.append(_sample("crm_requests_total", {"kind": kind or "none", "status": str(status)}, count))
        _family(lines, "crm_operations_total", "counter", "GraphQL requests by operation name.")
        for name, count in self.operations.items():
            lines.append(_sample("crm_operations_total", {"operation": name or "(anonymous)"}, count))
        _family(lines, "crm_errors_total", "counter", "Errors in answers by code.")
        for code, count in self.errors.items():
            lines.append(_sample("crm_errors_total", {"code": code}, count))
        _family(lines, "crm_statements_total", "counter", "SQL statements of reads.")
        lines.append(_sample("crm_statements_total", {}, self.statements))
        self._histogram(lines)
        last = ""
        for name, words, labels, value in gauges:
            if name != last:
                _family(lines, name, "gauge", words)
                last = name
            lines.append(_sample(name, labels, value))
        return "\n".join(lines) + "\n"

    def _histogram(self, lines: list[str]) -> None:
        name = "crm_request_seconds"
        _family(lines, name, "histogram", "Seconds from a request's arrival to its answer.")
        total = 0
        for bound, count in zip((*BUCKETS, "+Inf"), self._buckets, strict=True):
            total += count
            lines.append(_sample(f"{name}_bucket", {"le": str(bound)}, total))
        lines.append(_sample(f"{name}_sum", {}, round(self.seconds, 6)))
        lines.append(_sample(f"{name}_count", {}, total))


def _family(lines: list[str], name: str, kind: str, words: str) -> None:
    lines += (f"# HELP {name} {words}", f"# TYPE {name} {kind}")


def _sample(name: str, labels: dict[str, str], value: float) -> str:
    inside = ",".join(f'{k}="{_escape(v)}"' for k, v in labels.items())
    return f"{name}{{{inside}}} {value}" if inside else f"{name} {value}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
