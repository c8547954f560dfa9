"""Growth: how the cost of a read grows with the base, the page, nested children and added fields.

    python -m bench.growth [--sizes 10000,100000,1000000] [--seconds S] [--plots]

Grows one base by copying its rows, asks our server from one connection at each size, prints a table and writes
bench/results/growth.json; with --plots also docs/images/growth-*.png (matplotlib is installed for it).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import asyncpg

from bench import servers
from bench.facts import Facts, bodies, find_pages, gather
from bench.questions import DEEP, LIST, PAGE, POINT
from bench.servers import CACHE, ROOT, Server

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--plots", action="store_true")
    options = parser.parse_args()
    servers.need_wrk()
    sizes = [int(s) for s in options.sizes.split(",")]
    with tempfile.TemporaryDirectory(prefix="crm-bench-") as folder:
        rows = run(Path(folder), sizes, options.seconds)
    results = ROOT / "results"
    results.mkdir(exist_ok=True)
    (results / "growth.json").write_text(json.dumps(rows, indent=1))
    if options.plots:
        plot(results / "growth.json")


def run(data: Path, sizes: list[int], seconds: int) -> list[dict[str, Any]]:
    ours = servers.ours(data, sizes[0])
    rows: list[dict[str, Any]] = []
    print(f"{'what':<24}{'size':>10}{'of':>8}{'requests/s':>12}{'p50 ms':>9}{'p95 ms':>9}")
    try:
        ours.wait()
        dsn, schema, (facts, *_) = asyncio.run(gather(data))
        for size in sizes:
            asyncio.run(_grow(dsn, schema, size))
            for question in (POINT, LIST, DEEP):
                rows.append(_row("base", size, question.name, ours, bodies(question, facts, "ours"), facts, seconds))
            for page in PAGES:
                if page * 50 < size:
                    rows.append(_row("page", size, page, ours, _page(facts, ours, page), facts, seconds))
        for number in CHILDREN:
            rows.append(_row("children", sizes[-1], number, ours, [_children(number)], facts, seconds))
        names = _add_fields(ours, facts)
        for number in FIELDS:
            rows.append(_row("fields", sizes[-1], number, ours, [_fields(names[:number])], facts, seconds))
    finally:
        ours.stop()
    return rows


def _row(
    what: str, size: int, of: int | str, server: Server, asked: list[bytes], facts: Facts, seconds: int
) -> dict[str, Any]:
    servers.load(server, asked, facts.authorization, 1, 1)
    found = servers.load(server, asked, facts.authorization, 1, seconds)
    print(f"{what:<24}{size:>10}{of:>8}{found.rps:>12.0f}{found.p50:>9.2f}{found.p95:>9.2f}")
    return {"what": what, "size": size, "of": of, "rps": round(found.rps, 1), "p50": found.p50, "p95": found.p95}


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
    """Custom fields, each with a value in every customer of the first page."""
    names = [f"measure{i}" for i in range(FIELDS[-1])]
    create = """mutation($name: String!) {
      customFieldCreate(input: {recordType: "Customer", name: $name, kind: INTEGER}) {
        userErrors { code message } } }"""
    for name in names:
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
