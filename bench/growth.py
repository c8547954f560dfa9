"""Growth: how the cost of a read grows with the base, the page, nested children and added fields.

    python -m bench.growth [--sizes 10000,100000,1000000] [--seconds S] [--rounds R] [--data FOLDER] [--plots]

Grows a base for each size by copying rows, then asks a server of each from one connection in interleaved rounds,
prints medians and writes bench/results/growth.json; with --plots also docs/images/growth-*.png (matplotlib is
installed for it). Bases are kept in a folder that is named; with no rounds they are only made.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from bench import servers
from bench.facts import Facts, bodies, find_pages, gather
from bench.questions import DEEP, LIST, PAGE, POINT
from bench.servers import CACHE, ROOT, Sample, Server

FIELDS = (0, 10, 40)
CHILDREN = (1, 4, 16)
PAGES = (1, 100, 10_000)

#: Copies of all customers with what hangs on them; trigram indexes are made again afterwards, which is quicker.
_COPY = """
create temp table copied on commit drop as
  select c.id as old, gen_random_uuid() as new, n from customer c, generate_series(1, {times}) n
  where c.deleted_at is null and c.created_at <= {until};
insert into customer (id, code, name, kind, email, phone, tax_code, office_address, website, birthday, level, owner_id,
    created_at, updated_at)
  select new, 'G' || {mark} || '-' || row_number() over (), name, kind, email, phone, tax_code, office_address, website,
    birthday, level, owner_id, created_at + n * interval '1 second', updated_at
  from copied join customer on id = old;
insert into contact (id, customer_id, name, email, phones, is_main, created_at)
  select gen_random_uuid(), new, name, email, phones, is_main, created_at
  from copied join contact on customer_id = old where deleted_at is null;
insert into opportunity (id, customer_id, name, stage, probability, amount, owner_id, created_at)
  select gen_random_uuid(), new, name, stage, probability, amount, owner_id, created_at
  from copied join opportunity on customer_id = old where deleted_at is null;
insert into group_member (id, customer_id, group_id)
  select gen_random_uuid(), new, group_id from copied join group_member on customer_id = old;
"""


@dataclass(frozen=True)
class Case:
    """Something that is asked: what grows in it, the base's size, and how much of it there is, or of which question."""

    what: str
    size: int
    of: int | str
    server: Server
    authorization: str
    asked: list[bytes]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--data", default="", help="a folder to keep the bases in; a temporary one when left out")
    parser.add_argument("--plots", action="store_true")
    options = parser.parse_args()
    servers.need_wrk()
    sizes = [int(s) for s in options.sizes.split(",")]
    with tempfile.TemporaryDirectory(prefix="crm-bench-") as temporary:
        rows = run(Path(options.data or temporary), sizes, options.seconds, options.rounds)
    if not rows:
        return
    results = ROOT / "results"
    results.mkdir(exist_ok=True)
    (results / "growth.json").write_text(json.dumps(rows, indent=1))
    if options.plots:
        plot(results / "growth.json")


def run(data: Path, sizes: list[int], seconds: int, rounds: int) -> list[dict[str, Any]]:
    began = time.monotonic()
    with ExitStack() as stack:
        cases: list[Case] = []
        for size in sizes:
            # The worker would find much to do about what is copied, and be in its way.
            ours = servers.ours(data / str(size), min(size, sizes[0]), CRM_WORKER_INSIDE="false")
            stack.callback(ours.stop)
            ours.wait()
            dsn, schema, (facts, *_) = asyncio.run(gather(data / str(size)))
            asyncio.run(_grow(dsn, schema, size))
            print(f"{size:,} customers are there after {time.monotonic() - began:.0f} s", flush=True)
            if rounds:
                cases += _cases(size, ours, facts, last=size == sizes[-1])
        found: list[list[Sample]] = [[] for _ in cases]
        for case in cases:
            servers.load(case.server, case.asked, case.authorization, 1, 1)
        for round_ in range(rounds):
            turn = list(zip(cases, found, strict=True))
            for case, samples in turn if round_ % 2 else reversed(turn):
                samples.append(servers.load(case.server, case.asked, case.authorization, 1, seconds))
    if cases:
        print(f"{'what':<24}{'size':>10}{'of':>8}{'requests/s':>12}{'p50 ms':>9}{'p95 ms':>9}")
    return [_row(case, samples) for case, samples in zip(cases, found, strict=True)]


def _cases(size: int, server: Server, facts: Facts, *, last: bool) -> list[Case]:
    """What is asked of a base; of the largest, questions with children and with added fields too."""

    def case(what: str, of: int | str, asked: list[bytes]) -> Case:
        return Case(what, size, of, server, facts.authorization, asked)

    cases = [case("base", q.name, bodies(q, facts, "ours")) for q in (POINT, LIST, DEEP)]
    cases += [case("page", page, _page(facts, server, page)) for page in PAGES if page * 50 < size]
    if last:
        cases += [case("children", number, [_children(number)]) for number in CHILDREN]
        names = _add_fields(server, facts)
        cases += [case("fields", number, [_fields(names[:number])]) for number in FIELDS]
    return cases


def _row(case: Case, samples: list[Sample]) -> dict[str, Any]:
    rps, p50, p95 = (statistics.median(getattr(s, name) for s in samples) for name in ("rps", "p50", "p95"))
    print(f"{case.what:<24}{case.size:>10}{case.of:>8}{rps:>12.0f}{p50:>9.2f}{p95:>9.2f}")
    return {"what": case.what, "size": case.size, "of": case.of, "rps": round(rps, 1), "p50": p50, "p95": p95}


def _page(facts: Facts, server: Server, page: int) -> list[bytes]:
    if page == 1:
        return bodies(LIST, facts, "ours")
    find_pages(facts, server, page)
    return bodies(PAGE, facts, "ours")


def _asked(question: str) -> bytes:
    return json.dumps({"query": question}).encode()


def _children(number: int) -> bytes:
    return _asked(
        '{ customers(first: 20, where: {code: {startsWith: "MANY"}}) { nodes { id name'
        f" contacts(first: {number}) {{ nodes {{ id name email phones }} }} }} }} }}"
    )


def _fields(names: list[str]) -> bytes:
    return _asked(f"{{ customers(first: 50) {{ nodes {{ id name {' '.join(names)} }} }} }}")


def _add_fields(server: Server, facts: Facts) -> list[str]:
    """Custom fields, made unless they are there, each with a value in every customer of the first page."""
    names = [f"measure{i}" for i in range(FIELDS[-1])]
    create = """mutation($name: String!) {
      customFieldCreate(input: {recordType: "Customer", name: $name, kind: INTEGER}) {
        userErrors { code message } } }"""
    shown = servers.post(server.url, _asked('{ __type(name: "Customer") { fields { name } } }'), facts.authorization)
    there = {field["name"] for field in shown["data"]["__type"]["fields"]}
    for name in names:
        if name in there:
            continue
        body = json.dumps({"query": create, "variables": {"name": name}}).encode()
        made = servers.post(server.url, body, facts.authorization)
        if made.get("errors") or made["data"]["customFieldCreate"]["userErrors"]:
            sys.exit(f"the field {name} cannot be made: {made}")
    newest = servers.post(server.url, _asked("{ customers(first: 50) { nodes { id } } }"), facts.authorization)
    ids = [n["id"] for n in newest["data"]["customers"]["nodes"]]
    values = ", ".join(f"{name}: {i}" for i, name in enumerate(names))
    update = f"""mutation($ids: [ID!]!) {{
      customersBulkUpdate(input: {{target: {{ids: $ids}}, set: {{{values}}}}}) {{ counts }} }}"""
    body = json.dumps({"query": update, "variables": {"ids": ids}}).encode()
    answer = servers.post(server.url, body, facts.authorization)
    if answer.get("errors"):
        sys.exit(f"the fields cannot be set: {str(answer)[:500]}")
    return names


async def _grow(dsn: str, schema: str, size: int) -> None:
    """Copy customers until there are so many, and give twenty of them sixteen contacts each."""
    c = await asyncpg.connect(dsn, server_settings={"search_path": f"{schema},public"}, command_timeout=3600)
    try:
        there = await c.fetchval("select count(*) from customer where deleted_at is null")
        if there < size:
            indexes = await c.fetch(
                "select indexname, indexdef from pg_indexes where schemaname = $1 and indexdef like '% USING gin %'",
                schema,
            )
            async with c.transaction():
                for name, _ in indexes:
                    await c.execute(f'drop index "{name}"')
                until = await c.fetchval("select max(created_at) from customer")
                times = -(-(size - there) // there)
                await c.execute(_COPY.format(times=times, mark=size, until=f"'{until.isoformat()}'::timestamptz"))
                for _, definition in indexes:
                    await c.execute(definition)
        await c.execute(
            """with many as (update customer set code = 'MANY' || code where id in (
                 select id from customer where deleted_at is null and not exists (
                   select from customer where code like 'MANY%') order by id limit 20) returning id)
               insert into contact (id, customer_id, name, email, phones)
               select gen_random_uuid(), id, 'Contact ' || n, 'c' || n || '@example.com', array['0901234567']
               from many, generate_series(1, 16) n"""
        )
        await c.execute("vacuum analyze")
    finally:
        await c.close()


def plot(results: Path) -> None:
    """Draw the results with matplotlib, which lives in an environment of its own."""
    venv = CACHE / "plots"
    if not (venv / "bin" / "python").exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(venv / "bin" / "pip"), "install", "--quiet", "matplotlib>=3.10"], check=True)
    images = ROOT.parent / "docs" / "images"
    images.mkdir(parents=True, exist_ok=True)
    subprocess.run([str(venv / "bin" / "python"), str(ROOT / "plots.py"), str(results), str(images)], check=True)


if __name__ == "__main__":
    main()
