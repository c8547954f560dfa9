"""Lists filtered by groups against the statements a careful hand would write for them, in one run.

    python -m bench.groups [--rows N] [--data FOLDER] [--repeat N] [--questions NAME ...]

Every customer is in two or three of fifty groups on average, some in none, some in many; groups are of very different
sizes. Each question is asked with other groups each time, by the API in process and as SQL, in turns; both return JSON
over the same connections. What is written by hand knows how many groups there are, and does not look whether they were
deleted. Prints medians and 95th percentiles, and their ratios. With `--data` what was loaded is kept.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from bench.base import Base, base

GROUPS = """
insert into customer_group (id, name, family, points, created_at, updated_at)
select gen_random_uuid(), 'Nhóm ' || n, 'Họ ' || n % 5, n % 7, now() + n * interval '1 second', now()
from generate_series(1, 50) n"""
#: Group n holds about one customer in 2 + n² / 8: the largest of a million half a million, the smallest some thousands.
MEMBERS = """do $$ declare g record; begin
for g in select id, row_number() over (order by created_at) n from customer_group loop
  insert into group_member (id, customer_id, group_id)
  select gen_random_uuid(), c.id, g.id from customer c where random() < 1.0 / (2 + g.n * g.n / 8.0);
end loop; end $$"""

#: Questions that are asked first and not timed.
WARM = 2
FIELDS = "id code name email level province"
ROW = """json_build_object('id', c.id, 'code', c.code, 'name', c.name, 'email', c.email, 'level', c.level,
  'province', c.province)"""
IN = "(select from group_member m where m.customer_id = c.id and m.group_id = any({}::uuid[]))"
NEWEST = ("CREATED_AT", "DESC", "c.created_at desc, c.id desc")
BY_CODE = ("CODE", "ASC", "c.code_fold, c.id")


@dataclass(frozen=True)
class Question:
    """A list: its condition in GraphQL and in SQL, of as many lists of groups as `sizes` has lengths, and its order."""

    name: str
    where: str
    sql: str
    sizes: tuple[int, ...]
    order: tuple[str, str, str] = NEWEST

    def graphql(self) -> str:
        given = ", ".join(f"${'abc'[i]}: [ID!]!" for i in range(len(self.sizes)))
        field, direction, _ = self.order
        return (
            f"query({given}) {{ customers(first: 50, where: {{{self.where}}}, "
            f"orderBy: [{{field: {field}, direction: {direction}}}]) {{ nodes {{ {FIELDS} }} }} }}"
        )

    def statement(self) -> str:
        order = self.order[2]
        outer = order.replace("c.", "x.")
        return f"""select json_build_object('data', json_build_object('customers', json_build_object('nodes',
            coalesce(json_agg(x.j order by {outer}), '[]'::json)))) from (
          select c.created_at, c.code_fold, c.id, {ROW} as j from customer c where c.deleted_at is null and {self.sql}
          order by {order} limit 50) x"""


def all_of(parameter: str, size: int) -> str:
    one = "exists (select from group_member m where m.customer_id = c.id and m.group_id = ({}::uuid[])[{}])"
    return " and ".join(one.format(parameter, i) for i in range(1, size + 1))


def not_all_of(parameter: str, size: int) -> str:
    return f"""(select count(*) from group_member m where m.customer_id = c.id
      and m.group_id = any({parameter}::uuid[])) <> {size}"""


QUESTIONS = (
    Question("or", "groups: {or: $a}", f"exists {IN.format('$1')}", (3,)),
    Question("and", "groups: {and: $a}", all_of("$1", 2), (2,)),
    Question("and of three", "groups: {and: $a}", all_of("$1", 3), (3,)),
    Question("not", "groups: {not: $a}", not_all_of("$1", 2), (2,)),
    Question("none, by code", "groups: {none: $a}", f"not exists {IN.format('$1')}", (3,), BY_CODE),
    Question(
        "or, none, province",
        'groups: {or: $a, none: $b}, province: {eq: "Huế"}',
        f"exists {IN.format('$1')} and not exists {IN.format('$2')} and c.province = 'Huế'",
        (2, 1),
    ),
    Question(
        "and, not, level, by code",
        'groups: {and: $a, not: $b}, level: {in: ["A", "VIP"]}',
        f"{all_of('$1', 1)} and {not_all_of('$2', 2)} and c.level in ('A', 'VIP')",
        (1, 2),
        BY_CODE,
    ),
)


async def compare(opened: Base, question: Question, groups: list[str], repeat: int) -> tuple[float, float]:
    """Ask a question in both ways, in turns; returns the ratios at the median and the 95th percentile.

    Each way is the first every other time: whoever comes second finds what he needs in memory.
    """
    dice = random.Random(7)
    pool = opened.database.pool(opened.workspace)
    query, statement = question.graphql(), question.statement()
    ours, theirs = list[float](), list[float]()
    for n in range(repeat + WARM):
        picked = [dice.sample(groups, size) for size in question.sizes]
        answers = []
        for way in (ours, theirs) if n % 2 else (theirs, ours):
            started = time.perf_counter()
            if way is ours:
                answers.append(await opened.ask(query, **dict(zip("abc", picked, strict=False))))
            else:
                answers.append(await pool.fetchval(statement, *picked))
            if n >= WARM:
                way.append((time.perf_counter() - started) * 1000)
        assert orjson.loads(answers[0])["data"] == orjson.loads(answers[1])["data"], question.name
    middles = statistics.median(ours), statistics.median(theirs)
    tails = sorted(ours)[int(0.95 * repeat)], sorted(theirs)[int(0.95 * repeat)]
    for name, (one, other) in (("median", middles), ("p95", tails)):
        print(
            f"{question.name:26} {name:6} {one:8.2f} ms   by hand {other:8.2f} ms   ratio {one / other:.2f}", flush=True
        )
    return middles[0] / middles[1], tails[0] / tails[1]


async def run(rows: int, data: Path | None, repeat: int, questions: Sequence[Question]) -> None:
    async with base("groups", data) as opened:
        if opened.fresh:
            await opened.fill(rows, GROUPS, MEMBERS)
        pool = opened.database.pool(opened.workspace)
        customers, members = await pool.fetchrow(
            "select (select count(*) from customer), (select count(*) from group_member)"
        )
        print(f"{customers:,} customers, {members:,} memberships")
        groups = [str(r[0]) for r in await pool.fetch("select id from customer_group order by created_at")]
        ratios = [await compare(opened, question, groups, repeat) for question in questions]
        for name, which in (("median", statistics.median), ("worst", max)):
            middle, tail = (which(r[i] for r in ratios) for i in (0, 1))
            print(f"all questions: {name} of the ratios {middle:.2f} at the median, {tail:.2f} at the 95th percentile")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--data", type=Path, help="a folder to keep what was loaded in, for the next run")
    parser.add_argument("--repeat", type=int, default=100)
    names = [q.name for q in QUESTIONS]
    parser.add_argument("--questions", nargs="+", choices=names, default=names)
    given = parser.parse_args()
    chosen = [q for q in QUESTIONS if q.name in given.questions]
    asyncio.run(run(given.rows, given.data, given.repeat, chosen))


if __name__ == "__main__":
    main()
