"""Customers as a file that imports again without a change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson

from core import (
    TRUE,
    Conditions,
    Connection,
    EnumType,
    Field,
    JobContext,
    JobType,
    Kind,
    Policy,
    Predicate,
    Record,
    image_sql,
    parse_choice,
    quote,
    stored_condition,
    text,
)
from plugins.import_excel.faults import PACKAGE
from plugins.import_excel.sheets import CSV, EXACT, XLSX, Out, Text, Workbook
from plugins.import_excel.targets import CONTACT, CUSTOMER, GROUP, GROUPS, MEMBER, OWNER, REFERRER

EXPORT = "import_excel.export"
PURPOSE = "import_excel.export"
PAGE = 2000

FORMAT = EnumType(
    "ExportFormat",
    "The kind of file of an export.",
    {"XLSX": "A workbook; text is text, so no zero is lost and nothing is a formula.", "CSV": "Comma-separated text."},
)
KIND_NAMES: Mapping[str, Mapping[str, str]] = {
    "vi": {"PERSON": "Cá nhân", "ORGANISATION": "Tổ chức"},
    "en": {"PERSON": "Person", "ORGANISATION": "Organisation"},
}


@dataclass(frozen=True, slots=True)
class Part:
    """One column of an export. `role` is `field`, `contact`, `owner`, `referrer` or `groups`."""

    name: str
    role: str
    field: Field
    header: str


def parts(policy: Policy, locale: str) -> dict[str, Part]:
    """Everything that the actor may read of customers, by name, in the order of declaration."""
    customer, contact = policy.catalog[CUSTOMER], policy.catalog[CONTACT]
    found: list[Part] = []
    for declared in customer.exposed_fields():
        link = next((r for r in customer.to_one.values() if r.key.name == declared.name), None)
        if not policy.readable(customer, declared.name) or declared.sql is not None:
            continue
        if link is None and declared.name != "id" and declared.kind is not Kind.JSON:
            found.append(Part(declared.name, "field", declared, _label(declared, locale)))
        elif link is not None and link.name in (OWNER, REFERRER):
            found.append(Part(link.name, link.name, declared, link.labels.get(locale, link.name)))
    for declared in contact.exposed_fields():
        plain = declared.kind not in (Kind.ID, Kind.JSON) and declared.sql is None and declared.writable
        if plain and declared.name != "isMain" and policy.readable(contact, declared.name):
            found.append(Part(f"contact.{declared.name}", "contact", declared, _label(declared, locale)))
    if MEMBER in policy.catalog and policy.grants.reach(GROUP, "read").name != "NONE":
        label = policy.catalog[GROUP].type.labels.get(locale, "Group")
        found.append(Part(GROUPS, GROUPS, Field("groups", Kind.TEXTS, "Groups."), label))
    twice = [p.header for p in found]
    return {
        p.name: p if twice.count(p.header) == 1 else Part(p.name, p.role, p.field, f"{p.header} [{p.name}]")
        for p in found
    }


def usual(known: Mapping[str, Part]) -> list[str]:
    """The columns of an export for which none were chosen."""
    return [n for n, p in known.items() if p.role != "field" or p.field.writable]


def _label(declared: Field, locale: str) -> str:
    return declared.labels.get(locale) or declared.labels.get("en") or declared.name


async def run(job: JobContext) -> Mapping[str, Any]:
    """Write the file, page by page, and keep it."""
    locale = job.input["locale"]
    known = parts(job.policy, locale)
    chosen = [known[name] for name in job.input["columns"] if name in known]
    record = job.policy.catalog[CUSTOMER]
    where = job.input.get("where")
    predicate = TRUE if where is None else stored_condition(where, record, job.policy)
    name, csv = text("export_name", locale, PACKAGE), job.input["format"] == "CSV"
    rows = 0
    file_name = f"{name} {job.context.now.astimezone(ZoneInfo(job.workspace.time_zone)):%Y-%m-%d}"
    async with job.files.draft(f"{file_name}.{'csv' if csv else 'xlsx'}", CSV if csv else XLSX) as draft:
        headers = [p.header for p in chosen]
        out: Out = Text(draft.path, headers) if csv else Workbook(draft.path, name, headers, [20] * len(chosen[:100]))
        writer = _Writer(job, record, chosen, locale, csv=csv)
        async for page in writer.pages(predicate):
            await asyncio.to_thread(_write, out, page)
            rows += len(page)
            await job.progress(counts={"rows": rows})
        await asyncio.to_thread(out.close)
        upload = await draft.finished()
        async with job.database.transaction(job.workspace) as connection:
            days = timedelta(days=job.input["days"])
            kept = await job.files.keep(connection, upload, purpose=PURPOSE, expires_in=days)
    return {"rows": rows, "fileId": str(kept.id)}


def _write(out: Out, page: Sequence[Sequence[Any]]) -> None:
    for row in page:
        out.row(row)


@dataclass
class _Writer:
    """Reads customers and what belongs to them, as cells."""

    job: JobContext
    record: Record
    chosen: Sequence[Part]
    locale: str
    csv: bool

    async def pages(self, predicate: Predicate) -> AsyncIterator[list[list[Any]]]:
        """Pages of rows of cells."""
        conditions = Conditions(self.job.policy)
        alias = conditions.alias()
        table, where = conditions.source(self.job.policy.scope(CUSTOMER, "export"), alias)
        if predicate != TRUE:
            where.append(conditions.sql(predicate, alias))
        values = [source({}, self.job.context) for source in conditions.parameters.sources]
        last = f"${len(values) + 1}::uuid"
        image = image_sql(self.record, alias)
        where.append(f"({last} is null or {alias}.id > {last})")
        statement = (
            f"select {alias}.id, {image} from {table} where {' and '.join(where)} order by {alias}.id limit {PAGE}"
        )
        roles = {p.role for p in self.chosen}
        async with self.job.connection() as connection:
            labels = await self._labels(connection)
            people = await self._read(connection, "User", ("login",), None) if OWNER in roles else {}
        position: UUID | None = None
        while True:
            async with self.job.connection() as connection:
                found = await connection.fetch(statement, *values, position)
                if not found:
                    return
                position = found[-1][0]
                images = {id_: orjson.loads(image) for id_, image in found}
                beside = await self._beside(connection, roles, images)
            beside[OWNER] = people
            yield [[self._cell(p, id_, image, beside, labels) for p in self.chosen] for id_, image in images.items()]

    async def _beside(
        self, connection: Connection, roles: set[str], images: Mapping[UUID, Mapping[str, Any]]
    ) -> dict[str, dict[UUID, Any]]:
        """What is shown of other records, as far as the actor may read them."""
        found: dict[str, dict[UUID, Any]] = {}
        ids = list(images)
        if REFERRER in roles:
            referrers = [UUID(i["referrerId"]) for i in images.values() if i.get("referrerId")]
            found[REFERRER] = await self._read(connection, CUSTOMER, ("code",), referrers)
        if "contact" in roles:
            names = tuple(p.field.name for p in self.chosen if p.role == "contact")
            found["contact"] = await self._read(connection, CONTACT, names, ids, by="customer_id", only="is_main")
        if GROUPS in roles:
            members = quote(self.job.policy.catalog[MEMBER].type.tablename)
            groups = await self._read(connection, GROUP, ("name",), None)
            found[GROUPS] = {}
            for customer, group in await connection.fetch(
                f"select customer_id, group_id from {members} where customer_id = any($1::uuid[]) order by id", ids
            ):
                if group in groups:
                    found[GROUPS].setdefault(customer, []).append(groups[group]["name"])
        return found

    async def _read(
        self,
        connection: Connection,
        name: str,
        fields: Sequence[str],
        ids: Sequence[UUID] | None,
        by: str = "id",
        only: str = "",
    ) -> dict[UUID, dict[str, Any]]:
        """Records that the actor may read, by id or by another column."""
        policy = self.job.policy
        if policy.grants.reach(name, "read").name == "NONE":
            return {}
        record = policy.catalog[name]
        conditions = Conditions(policy)
        alias = conditions.alias()
        table, where = conditions.source(policy.scope(name, "read"), alias)
        values = [source({}, self.job.context) for source in conditions.parameters.sources]
        if ids is not None:
            values.append(list(ids))
            where.append(f"{alias}.{by} = any(${len(values)}::uuid[])")
        if only:
            where.append(f"{alias}.{only}")
        statement = (
            f"select {alias}.{by}, {image_sql(record, alias)} from {table} where {' and '.join(where) or 'true'}"
        )
        readable = [f for f in fields if policy.readable(record, f)]
        return {
            id_: {f: values_[f] for f in readable}
            for id_, image in await connection.fetch(statement, *values)
            for values_ in (orjson.loads(image),)
        }

    async def _labels(self, connection: Connection) -> dict[str, dict[str, str]]:
        """Labels of choices by value, by field."""
        found: dict[str, dict[str, str]] = {"kind": dict(KIND_NAMES.get(self.locale, {}))}
        for name, choices in await connection.fetch(
            "select name, choices from custom_field where record_type = $1 and kind in ('CHOICE', 'CHOICES')", CUSTOMER
        ):
            found[name] = dict(parse_choice(c) for c in choices or ())
        return found

    def _cell(
        self,
        part: Part,
        id_: UUID,
        image: Mapping[str, Any],
        beside: Mapping[str, Mapping[UUID, Any]],
        labels: Mapping[str, Mapping[str, str]],
    ) -> Any:
        if part.role in (OWNER, REFERRER):
            key = image.get(part.field.name)
            found = beside[part.role].get(UUID(key)) if key else None
            return next(iter(found.values()), None) if found else None
        if part.role == GROUPS:
            return _joined(beside[GROUPS].get(id_, ()))
        source = beside["contact"].get(id_, {}) if part.role == "contact" else image
        return self._value(part.field, source.get(part.field.name), labels.get(part.name, {}))

    def _value(self, declared: Field, value: Any, labels: Mapping[str, str]) -> Any:
        if value is None:
            return None
        match declared.kind:
            case Kind.DATE:
                at = date.fromisoformat(value)
                return at if at.year >= 1900 else value
            case Kind.DATETIME:
                moment = datetime.fromisoformat(value).astimezone(ZoneInfo(self.job.workspace.time_zone))
                return moment.replace(tzinfo=None, microsecond=0)
            case Kind.DECIMAL:
                return self._decimal(value)
            case Kind.TEXTS:
                return _joined([labels.get(v, v) for v in value])
            case Kind.ENUM:
                return labels.get(value, value)
        return value

    def _decimal(self, value: str) -> Any:
        number = Decimal(value)
        if self.csv or abs(number) >= EXACT or len(number.as_tuple().digits) > 15:
            # Three decimals might be taken for thousands.
            return value + "0" if len(value.partition(".")[2]) == 3 else value
        return number


def _joined(values: Sequence[str]) -> str | None:
    """Several values in one cell; one that holds what separates them is quoted."""
    shown = ('"' + v.replace('"', '""') + '"' if set(v) & set(',;|\n"') else v for v in values)
    return ", ".join(shown) or None


JOB = JobType(EXPORT, "Writes customers to a file.", run, timeout=12 * 3600.0)
