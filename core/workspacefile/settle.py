"""Sections of a file are made true: what differs is written through one change set, what is referred to first."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any
from uuid import UUID

import asyncpg

from core.changes import ChangeSet, Target
from core.errors import Refused
from core.folding import fold
from core.records import Field, Kind, Write
from core.workspacefile.difference import Difference, FileFault
from core.workspacefile.section import Section, Stored, Values, Wanted

Key = tuple[Any, ...]


@dataclass(eq=False)
class _Node:
    """One record of the file, and the one that it is in the workspace."""

    section: Section
    table: Mapping[str, Any]
    key: Key
    place: str
    stored: Stored | None = None
    wanted: Wanted | None = None


@dataclass
class _Writes:
    """What is to be written to the records of one type, with the places in the file."""

    creates: list[tuple[Values, str]] = field(default_factory=list)
    updates: list[tuple[Stored, Values, str]] = field(default_factory=list)
    deletes: list[UUID] = field(default_factory=list)


async def settle(
    sections: Mapping[str, Section],
    tables: Mapping[str, Any],
    changes: ChangeSet,
    deleted: Callable[[], Awaitable[None]] | None = None,
) -> list[Difference]:
    """Make the sections that the file has as it has them; returns what differed.

    `deleted` is awaited when records have been deleted and others are not written yet.
    Raises FileFault with everything that is wrong among the records that could be looked at.
    """
    nodes: list[_Node] = []
    gone: list[tuple[Section, Stored, dict[str, Any]]] = []
    for name, section in sections.items():
        if name in tables:
            # Written out before anything goes, so that differences tell names, not ids.
            before = {one: await section.table(one) for one in await section.stored(changes)}
            some = _paired(section, tables[name], list(before))
            for node in some:
                if node.stored is not None and _must_be_made_anew(section, before[node.stored], node.table):
                    node.stored = None
            nodes += some
            kept = {node.stored for node in some}
            gone += [(section, one, table) for one, table in before.items() if one not in kept]
    found = [_deleted(section, table) for section, _, table in gone]
    for section in dict.fromkeys(section for section, _, _ in reversed(gone)):
        await _do(section, _Writes(deletes=[one.id for of, one, _ in gone if of is section]), changes)
    if gone and deleted is not None:
        await deleted()
    sorter = await _ordered(nodes, changes)
    while sorter.is_active():
        ready = set(sorter.get_ready())
        found += await _write([node for node in nodes if node in ready], changes)
        sorter.done(*ready)
    return found


def _paired(section: Section, tables: Any, stored: Sequence[Stored]) -> list[_Node]:
    """The records of the file with those they are in the workspace.

    A record is known by its key, if need be by one that differs in case and accents only.
    """
    if not isinstance(tables, list) or not all(isinstance(t, Mapping) for t in tables):
        raise FileFault([f"{section.name}: must be a list of tables"])
    nodes = [_Node(section, t, section.key(t), section.place(t)) for t in tables]
    nodes.sort(key=lambda n: json.dumps(n.table, default=str, sort_keys=True))
    for alike in (tuple, _folded):
        taken = {node.stored for node in nodes}
        left = defaultdict(list)
        for one in stored:
            if one not in taken:
                left[alike(section.key(one.values))].append(one)
        for node in nodes:
            if node.stored is None and (same := left.get(alike(node.key))):
                node.stored = same.pop(0)
    order = {id(t): i for i, t in enumerate(tables)}
    return sorted(nodes, key=lambda n: order[id(n.table)])


def _must_be_made_anew(section: Section, before: Mapping[str, Any], table: Mapping[str, Any]) -> bool:
    """Whether a record differs in what can be said of it only once."""
    return any(
        before.get(label, f.default) != table.get(label, f.default)
        for label, f in section.fields.items()
        if f.write is Write.CREATE and f.name not in section.record.type.known_by
    )


def _folded(key: Key) -> Key:
    return tuple((fold(v) or v.lower()) if isinstance(v, str) else v for v in key)


async def _ordered(nodes: Sequence[_Node], changes: ChangeSet) -> TopologicalSorter[_Node]:
    """The records, each after those it names, and after the one that gives up the unique value it takes.

    Where such values go round in a circle, one of them is put aside for the moment.
    """
    needs, takes = await _needs(nodes), _takes(nodes)
    aside: set[_Node] = set()
    while True:
        sorter = TopologicalSorter({node: needs[node] | (takes[node] - aside) for node in nodes})
        try:
            sorter.prepare()
        except CycleError as error:
            circle = error.args[1]
            steps = itertools.pairwise(circle)
            gives = next((a for a, b in steps if a in takes[b] and a not in needs[b] and a not in aside), None)
            if gives is None:
                places = " -> ".join(node.place for node in circle)
                raise FileFault([f"these need each other, so that none can be first: {places}"]) from None
            aside.add(gives)
            await _put_aside(gives, nodes, changes)
        else:
            return sorter


def _takes(nodes: Sequence[_Node]) -> dict[_Node, set[_Node]]:
    """For each record of the file those whose unique values it takes over."""
    holders: dict[Any, _Node] = {}
    for node in nodes:
        for label, f in _unique(node.section):
            if node.stored is not None and node.stored.values[f.name] != node.table.get(label):
                holders[node.section.name, label, str(node.stored.values[f.name])] = node
    return {
        node: {
            holder
            for label, _ in _unique(node.section)
            if (holder := holders.get((node.section.name, label, str(node.table.get(label))))) not in (None, node)
        }
        for node in nodes
    }


def _unique(section: Section) -> list[tuple[str, Field]]:
    return [(label, f) for label, f in section.fields.items() if f.unique]


async def _put_aside(node: _Node, nodes: Sequence[_Node], changes: ChangeSet) -> None:
    """Give a record unique values that none has or is to have."""
    assert node.stored is not None
    for label, f in _unique(node.section):
        same = [n for n in nodes if n.section is node.section]
        taken = {n.table.get(label) for n in same} | {n.stored.values[f.name] for n in same if n.stored}
        if f.kind is Kind.INT:
            node.stored.aside[f.name] = next(n for n in range(f.minimum or 0, 2**31) if n not in taken)
        elif f.kind is Kind.TEXT and f.name not in node.section.record.type.known_by:
            node.stored.aside[f.name] = next(t for n in range(2**31) if (t := f"~{n}") not in taken)
    await _set(node.section, [(node.stored, node.stored.aside, node.place)], changes)


async def _needs(nodes: Sequence[_Node]) -> dict[_Node, set[_Node]]:
    """For each record of the file those that must be written before it: what it names and what is not there yet."""
    new = {
        (n.section.record.name, n.key): n for n in nodes if n.stored is None or n.section.key(n.stored.values) != n.key
    }
    return {n: {new[name] for name in await n.section.named(n.table) if name in new} - {n} for n in nodes}


def _deleted(section: Section, table: Mapping[str, Any]) -> Difference:
    before = {label: (value, None) for label, value in table.items()}
    return Difference("delete", section.name, _called(section, table), before, destructive=True)


async def _write(nodes: Sequence[_Node], changes: ChangeSet) -> list[Difference]:
    """Write records all of whose references are there already."""
    problems: list[str] = []
    for node in nodes:
        node.wanted = await node.section.wanted(node.table, node.place, node.stored)
        problems += node.wanted.problems
    if problems:
        raise FileFault(problems)
    found = [await _difference(node) for node in nodes]
    for section in dict.fromkeys(node.section for node in nodes):
        of_section = [node for node in nodes if node.section is section]
        own = _Writes()
        for node in of_section:
            assert node.wanted is not None
            if node.stored is None:
                own.creates.append((node.wanted.values, node.place))
            elif changed := _changed(section, node.wanted.values, node.stored.values | node.stored.aside):
                own.updates.append((node.stored, changed, node.place))
        created = iter(await _do(section, own, changes))
        ids = [node.stored.id if node.stored else next(created) for node in of_section]
        for part in section.parts:
            await _do(section.parts[part], _of_part(section, part, of_section, ids), changes)
    return [difference for difference in found if difference is not None]


def _changed(section: Section, wanted: Values, stored: Values) -> Values:
    return {name: value for name, value in wanted.items() if not section.alike(name, stored.get(name), value)}


def _of_part(section: Section, part: str, nodes: Sequence[_Node], ids: Sequence[UUID]) -> _Writes:
    """What is to be written to one part of some records."""
    writes, inner = _Writes(), section.parts[part]
    for node, id_ in zip(nodes, ids, strict=True):
        there = node.stored.parts[part] if node.stored else {}
        wanted = node.wanted.parts[part] if node.wanted else {}
        place = f"{node.place}.{part}"
        for key, values in wanted.items():
            if key not in there:
                writes.creates.append(({**values, section.parent_field(part): str(id_)}, place))
            elif changed := _changed(inner, values, there[key].values):
                writes.updates.append((there[key], changed, place))
        writes.deletes += [one.id for key, one in there.items() if key not in wanted]
    return writes


async def _difference(node: _Node) -> Difference | None:
    """How a record of the file differs from the one that is there."""
    section, wanted = node.section, node.wanted
    assert wanted is not None
    name = _called(section, node.table)
    if node.stored is None:
        return Difference("create", section.name, name, {label: (None, v) for label, v in node.table.items()})
    changed = _changed(section, wanted.values, node.stored.values)
    changes: dict[str, tuple[Any, Any]] = {}
    for label, f in section.fields.items():
        if f.name in changed:
            before = await section.to_file(f, node.stored.values.get(f.name))
            changes[label] = (before, await section.to_file(f, wanted.values[f.name]))
    for part, inner in section.parts.items():
        there, to_be = node.stored.parts[part], wanted.parts[part]
        if section.relation(part).through:
            if there.keys() != to_be.keys():
                before = (await section.table(node.stored)).get(part, [])
                changes[part] = (before, node.table.get(part, []))
            continue
        for key in sorted({*there, *to_be}):
            before = await inner.leaf(there[key].values) if key in there else None
            after = await inner.leaf(to_be[key]) if key in to_be else None
            if before != after:
                changes[".".join((part, *key))] = (before, after)
    return Difference("change", section.name, name, changes) if changes else None


def _called(section: Section, table: Mapping[str, Any]) -> str:
    return section.place(table).partition(" ")[2].strip('"')


async def _do(section: Section, writes: _Writes, changes: ChangeSet) -> list[UUID]:
    """Write; returns the ids of what was created."""
    name = section.record.name
    try:
        if writes.deletes:
            await changes.delete(name, Target(ids=tuple(writes.deletes), path=(section.name,)))
        if writes.updates:
            await _set(section, writes.updates, changes)
        if not writes.creates:
            return []
        places = [place for _, place in writes.creates]
        return await changes.create(name, [values for values, _ in writes.creates], lambda i: (places[i],))
    except Refused as error:
        raise FileFault.of(error) from error
    except asyncpg.IntegrityConstraintViolationError as error:
        place = (writes.creates or [({}, section.name)])[0][1]
        raise FileFault([f"{place}: the value is in use ({error.constraint_name})"]) from error


async def _set(section: Section, updates: Sequence[tuple[Stored, Values, str]], changes: ChangeSet) -> None:
    wanted = {one.id: values for one, values, _ in updates}
    paths = {one.id: (place,) for one, _, place in updates}
    target = Target(ids=tuple(wanted), paths=paths)
    await changes.update(section.record.name, target, lambda row: wanted[row.id])  # type: ignore[index]
