"""Reads: our server against the same SQL written by hand and against PostGraphile, answers compared first.

    python -m bench.reads [--customers N] [--seconds S] [--rounds R] [--who all,team,shared] [--peers] [--smoke]

Needs `wrk` on the PATH (a Debian package), except with --smoke, which compares answers, counts the statements of each
question and measures nothing. Prints a table and writes bench/results/reads.json.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import sys
import tempfile
import urllib.request
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from bench import servers
from bench.facts import Facts, bodies, find_cursors, find_pages, gather
from bench.questions import BY_NAME, QUESTIONS, Question
from bench.servers import ROOT, Sample, Server

CONNECTIONS = (1, 16)
PAGE = 1000
COMPARED = 25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=20_000)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--who", default="all", help="kinds of actor, of: all, team, shared")
    parser.add_argument("--questions", default=",".join(q.name for q in QUESTIONS))
    parser.add_argument("--peers", action="store_true", help="measure PostGraphile, too (for the actor who sees all)")
    parser.add_argument("--data", default="", help="a data folder to keep; a temporary one when left out")
    parser.add_argument("--smoke", action="store_true", help="compare the answers and measure nothing")
    options = parser.parse_args()
    if not options.smoke:
        servers.need_wrk()
    with tempfile.TemporaryDirectory(prefix="crm-bench-") as temporary:
        run(options, Path(options.data or temporary))


def run(options: argparse.Namespace, data: Path) -> None:
    ours = servers.ours(data, options.customers)
    started = [ours]
    try:
        ours.wait()
        dsn, schema, everybody = asyncio.run(gather(data))
        asking = [f for f in everybody if f.who in options.who.split(",")]
        limit = servers.limit(dsn, schema, {f.authorization: f.policy for f in everybody})
        started.append(limit)
        if options.peers:
            started.append(servers.postgraphile(dsn, schema))
        for server in started:
            server.wait()
        questions = [BY_NAME[name] for name in options.questions.split(",")]
        rows = []
        for facts in asking:
            find_pages(facts, ours, min(PAGE, max(2, options.customers // 200)))
            peers = [s for s in started if s.name != "postgraphile" or facts.who == "all"]
            if len(peers) > 2:
                find_cursors(facts, peers[2], min(PAGE, max(2, options.customers // 200)))
            compare(questions, facts, peers)
            if not options.smoke:
                rows += measure(options, questions, facts, peers)
        if rows:
            results = ROOT / "results"
            results.mkdir(exist_ok=True)
            (results / "reads.json").write_text(json.dumps({"customers": options.customers, "rows": rows}, indent=1))
    finally:
        for server in reversed(started):
            server.stop()


def asked_of(question: Question, peers: list[Server]) -> list[Server]:
    return [s for s in peers if s.name != "postgraphile" or question.postgraphile]


def compare(questions: list[Question], facts: Facts, peers: list[Server]) -> None:
    """All must answer the same, from one statement of ours, else there is nothing to measure."""
    for question in questions:
        answers = {}
        for server in asked_of(question, peers):
            asked = bodies(question, facts, server.name)[:COMPARED]
            before = statements(peers[0])
            answers[server.name] = [alike(servers.post(server.url, b, facts.authorization)["data"]) for b in asked]
            if server is peers[0] and (made := statements(server) - before) != len(asked):
                sys.exit(f"{question.name}: {made} statements for {len(asked)} requests")
        for name, theirs in answers.items():
            for mine, other in zip(answers["ours"], theirs, strict=True):
                if mine != other:
                    shown = "\n".join(json.dumps(answer)[:1500] for answer in (mine, other))
                    sys.exit(f"{question.name} for {facts.who}: ours and {name} differ:\n{shown}")
    print(f"{facts.who}: answers equal for {len(questions)} questions, one statement each")


def statements(server: Server) -> int:
    """How many statements our server has run for reads, as its metrics say."""
    with urllib.request.urlopen(server.url.replace("/graphql", "/metrics")) as response:
        found = re.search(r"^crm_statements_total(?:\{[^}]*\})? (\d+)", response.read().decode(), re.MULTILINE)
    if found is None:
        sys.exit("the server's metrics do not count the statements of reads")
    return int(found[1])


_TIME = re.compile(r"^\d{4}-\d\d-\d\dT[\d:]+(\.\d+)?\+00:00$")


def alike(value: Any) -> Any:
    """An answer with the spellings of times and decimals, and PostGraphile's shape of groups, made one."""
    if isinstance(value, dict):
        if value.keys() == {"group"}:
            return value["group"]
        if "groups" in value:
            groups = [alike(g) for g in value["groups"]["nodes"]]
            if all("rowId" in g for g in groups):
                groups.sort(key=lambda g: (g["createdAt"], g["rowId"]), reverse=True)
            value = value | {"groups": [{"name": g["name"]} for g in groups]}
        return {k: alike(v) for k, v in value.items()}
    if isinstance(value, list):
        return [alike(v) for v in value]
    if isinstance(value, str) and _TIME.match(value):
        head, _, zone = value.partition("+")
        whole, _, fraction = head.partition(".")
        return f"{whole}.{fraction.ljust(6, '0')}+{zone}"
    if isinstance(value, str) and re.fullmatch(r"\d+\.\d{4}", value):
        try:
            return format(Decimal(value).normalize(), "f")
        except InvalidOperation:
            return value
    return value


def measure(options: argparse.Namespace, questions: list[Question], facts: Facts, peers: list[Server]) -> list[Any]:
    """Interleaved rounds: round > question > connections > server."""
    found: dict[tuple[str, int, str], list[Sample]] = {}
    for question in questions:
        for server in asked_of(question, peers):
            servers.load(server, bodies(question, facts, server.name), facts.authorization, 16, options.seconds)
    for round_ in range(options.rounds):
        for question in questions:
            for connections in CONNECTIONS:
                turn = asked_of(question, peers)
                for server in turn if round_ % 2 else reversed(turn):
                    asked = bodies(question, facts, server.name)
                    sample = servers.load(server, asked, facts.authorization, connections, options.seconds)
                    found.setdefault((question.name, connections, server.name), []).append(sample)
    return [row(q, c, facts, peers, found) for q in head(questions, facts) for c in CONNECTIONS]


def head(questions: list[Question], facts: Facts) -> list[Question]:
    print(f"\nthe actor who sees {facts.who}: medians of requests per second, processor ms of the server per request")
    columns = f"{'limit':>8}{'ours':>8}{'ratio':>7}{'p95':>7}{'limit':>8}{'ours':>8}{'peer':>8}{'ours/peer':>10}"
    print(f"{'question':<72}{'conns':>6}{columns}")
    return questions


def row(
    question: Question,
    connections: int,
    facts: Facts,
    peers: list[Server],
    found: dict[tuple[str, int, str], list[Sample]],
) -> dict[str, Any]:
    """One line of the table: ratios are medians of the rounds' ratios."""
    of = {s.name: found[question.name, connections, s.name] for s in asked_of(question, peers)}

    def ratio(to: str, what: str = "rps") -> float:
        pairs = zip(of["ours"], of[to], strict=True)
        return float(statistics.median(getattr(a, what) / getattr(b, what) for a, b in pairs))

    made: dict[str, Any] = {"who": facts.who, "question": question.name, "connections": connections}
    for name, samples in of.items():
        for what in ("rps", "cpu_ms", "p50", "p95", "p99"):
            made[f"{name}_{what}"] = round(statistics.median(getattr(s, what) for s in samples), 3)
    made["ratio"], made["p95_ratio"] = round(ratio("limit"), 3), round(ratio("limit", "p95"), 3)
    line = (
        f"{question.name + ' ' + question.title:<72}{connections:>6}{made['limit_rps']:>8.0f}{made['ours_rps']:>8.0f}"
    )
    line += f"{made['ratio']:>7.2f}{made['p95_ratio']:>7.2f}{made['limit_cpu_ms']:>8.3f}{made['ours_cpu_ms']:>8.3f}"
    if "postgraphile" in of:
        made["postgraphile_ratio"] = round(ratio("postgraphile"), 3)
        line += f"{made['postgraphile_rps']:>8.0f}{made['postgraphile_ratio']:>10.2f}"
    print(line)
    return made


if __name__ == "__main__":
    main()
