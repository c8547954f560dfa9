"""Sizes and costs of documents, and that measuring them costs nothing to speak of."""

from __future__ import annotations

import gc
import time
from typing import Any

import pytest
from graphql import Token, build_schema, get_introspection_query, parse
from hypothesis import given
from hypothesis import strategies as st

from core.schema.composition import Documents
from core.schema.document import Prepared, prepare
from core.schema.measure import UNPAGED, Limits, Measure, Measurer

SCHEMA = build_schema("""
type Query {
  customers(first: Int, last: Int): Connection! customer: Customer nodes(ids: [ID!]!): [Customer]!
  groups(first: Int): [Group!]!
}
type Connection { nodes: [Customer!]! edges: [Edge!]! pageInfo: PageInfo! totalCount: Int }
type Edge { node: Customer! cursor: String! }
type PageInfo { hasNextPage: Boolean! }
type Customer { id: ID! tags: [String!]! owner: Customer roles: [Role!]! contacts(first: Int): Connection! }
type Role { name: String! }
type Group { key: String nodes: [Customer!]! }
type Mutation { rename: Customer }
""")
LIMITS = Limits()


def prepared(text: str, limits: Limits = LIMITS) -> Prepared:
    return prepare(SCHEMA, text, limits)


def measured(text: str) -> Measure:
    found = prepared(text)
    assert found.errors == []
    (operation,) = found.operations.values()
    return operation.measure


def cost(text: str, **variables: Any) -> int:
    return measured(text).cost(variables, LIMITS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{ customer { id } }", 2),
        ("{ customer { id tags } }", 3),
        ("{ customers(first: 10) { nodes { id } } }", 1 + 10 * 2),
        ("{ customers { nodes { id } } }", 1 + 50 * 2),
        ("{ customers(last: 3) { edges { node { id } cursor } totalCount } }", 1 + 3 * 5),
        ("{ customers(first: 10) { nodes { contacts(first: 5) { nodes { id } } } } }", 1 + 10 * (2 + 5 * 2)),
        ('{ nodes(ids: ["1", "2", "3"]) { id } }', 1 + 3),
        ("{ customer { roles { name } } }", 2 + UNPAGED),
        ("{ groups(first: 5) { key nodes { id } } }", 1 + UNPAGED * 5 * (2 + UNPAGED)),
        ("{ customers(first: 99999) { totalCount } }", 1 + 200),
        ("{ __schema { types { name fields { name } } } }", 1),
        ("mutation { rename { id } }", 2),
    ],
)
def test_cost_is_rows_times_fields(text: str, expected: int) -> None:
    assert cost(text) == expected
    assert measured(text).fixed


@pytest.mark.parametrize(
    ("variables", "rows"),
    [({"n": 7}, 7), ({}, 50), ({"n": None}, 50), ({"n": 1_000_000}, 200), ({"n": -5}, 1), ({"n": 0}, 1)],
)
def test_page_sizes_in_variables_enter_the_cost(variables: dict[str, Any], rows: int) -> None:
    text = "query($n: Int) { customers(first: $n) { nodes { id contacts(first: 2) { totalCount } } } }"
    assert not measured(text).fixed
    assert cost(text, **variables) == 1 + rows * (3 + 2)


def test_variables_multiply_where_one_list_is_in_another() -> None:
    text = """query($a: Int, $b: Int) { customers(first: $a) { nodes { ...C } }
    x: customers(first: $b) { nodes { ...C } } }
    fragment C on Customer { id contacts(first: $b) { totalCount } }"""
    assert cost(text, a=3, b=4) == 2 + 3 * (3 + 4) + 4 * (3 + 4)


def test_ids_in_a_variable_count_one_by_one() -> None:
    assert cost("query($i: [ID!]!) { nodes(ids: $i) { id owner { id } } }", i=["1", "2"]) == 1 + 2 * 3


def test_sizes() -> None:
    found = measured("""
    query A { a: customer { id @include(if: true) ...F } ... on Query { b: customer { id } } }
    fragment F on Customer { owner { owner { id } } tags }""")
    size = found.size
    assert (size.depth, size.aliases, size.directives, size.fields) == (4, 2, 1, 8)
    assert found.root_fields == 2


def excess(text: str, **limits: int) -> str:
    (error,) = prepared(text, Limits(**limits)).errors
    assert error.extensions == {"code": "LIMIT_EXCEEDED"}
    return error.message


@pytest.mark.parametrize(
    ("text", "limits", "named"),
    [
        ("{ customer { owner { id } } }", {"depth": 2}, "depth"),
        ("{ a: __typename b: __typename }", {"aliases": 1}, "aliases"),
        ("{ __typename @skip(if: true) customer @skip(if: true) { id } }", {"directives": 1}, "directives"),
        ("{ customer { id id id } }", {"fields": 3}, "number of fields"),
        ("{ customer { id id id } }", {"repeats": 2}, "repeated"),
        ("{ __typename ... { ...F } } fragment F on Query { customer { id } }", {"root_fields": 1}, "root fields"),
        ("{" + "...{" * 91 + "__typename" + "}" * 92, {}, "nesting"),
    ],
)
def test_what_is_over_a_limit_is_named(text: str, limits: dict[str, int], named: str) -> None:
    assert named in excess(text, **limits)


def test_limits_hold_for_every_operation_of_a_document() -> None:
    assert excess("query A { __typename } query B { a: __typename b: __typename }", aliases=1)


def test_tokens_are_limited_by_the_parser() -> None:
    (error,) = prepared("{ " + "id " * 200 + "}", Limits(tokens=100)).errors
    assert error.extensions == {"code": "GRAPHQL_PARSE_FAILED"}


def test_characters_are_limited_before_anything_is_parsed() -> None:
    assert "characters" in excess("{ __typename }" + " " * 1000, characters=1000)


def test_the_cache_of_documents_is_bounded_by_their_characters() -> None:
    cache = Documents(size=3, characters=10)
    kept = {text: prepared("{ __typename }") for text in ("aaaa", "bbbb", "c", "d", "e")}
    for text, value in kept.items():
        cache.put(text, value)
    assert [text for text in kept if cache.get(text)] == ["c", "d", "e"]
    assert cache.characters == 3
    cache.put("e", kept["e"])
    cache.put("ffffffff", kept["e"])
    assert (len(cache), cache.characters) == (3, 10)
    cache.put("g" * 11, kept["e"])
    assert (len(cache), cache.characters) == (0, 0)


def test_graphiqls_own_introspection_is_within_all_limits_unless_switched_off() -> None:
    query = get_introspection_query(descriptions=True, input_value_deprecation=True, specified_by_url=True)
    assert prepared(query).errors == []
    (error,) = prepared(query, Limits(introspection=False)).errors
    assert error.extensions == {"code": "GRAPHQL_VALIDATION_FAILED"}
    assert prepared("{ __typename }", Limits(introspection=False)).errors == []


def test_a_fragment_is_measured_once_however_often_it_is_spread() -> None:
    doubled = " ".join(f"fragment F{i} on Query {{ ...F{i + 1} ...F{i + 1} }}" for i in range(200))
    text = "{ ...F0 } " + doubled + " fragment F200 on Query { __typename }"
    began = time.process_time()
    assert prepared(text).errors[0].extensions == {"code": "LIMIT_EXCEEDED"}
    assert time.process_time() - began < 0.05


def test_faulty_fragments_are_left_to_validation() -> None:
    for text in ("{ ...Nope }", "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }"):
        errors = prepared(text).errors
        assert [e.extensions for e in errors] == [{"code": "GRAPHQL_VALIDATION_FAILED"}] * len(errors) != []


def test_nul_in_a_text_of_the_document_is_refused() -> None:
    for text in ('{ nodes(ids: ["a\\u0000"]) { id } }', '{ nodes(ids: ["\\u{0}"]) { id } }'):
        (error,) = prepared(text).errors
        assert error.extensions == {"code": "BAD_USER_INPUT"}
    assert prepared('{ nodes(ids: ["\\u0001"]) { id } }').errors == []


selections = st.recursive(
    st.sampled_from(["id", "tags", "...F", "...G", "... { id }"]),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda s: f"owner {{ {' '.join(s)} }}"),
        st.tuples(st.sampled_from(["1", "3", "$n", "$m"]), inner).map(
            lambda t: f"contacts(first: {t[0]}) {{ nodes {{ {t[1]} }} }}"
        ),
    ),
    max_leaves=8,
)


@given(selections, selections, selections, st.integers(1, 9), st.integers(1, 9))
def test_cost_equals_that_of_the_document_written_out(a: str, b: str, c: str, n: int, m: int) -> None:
    b, c = b.replace("...F", "id").replace("...G", "id"), c.replace("...F", "id").replace("...G", "tags")
    parts = f"fragment F on Customer {{ {b} }} fragment G on Customer {{ ...F {c} }}"
    whole = a.replace("...G", f"...F {c}").replace("...F", b)
    for name, value in (("$n", n), ("$m", m)):
        whole = whole.replace(name, str(value))
    head = f"query($n: Int, $m: Int) {{ customer {{ {a} }} }} {parts}"

    def of(text: str) -> int:
        document = parse(text)
        measurer = Measurer(SCHEMA, document, LIMITS)
        return measurer.measure(document.definitions[0]).cost({"n": n, "m": m}, LIMITS)  # type: ignore[arg-type]

    assert of(head) == of(f"{{ customer {{ {whole} }} }}")


@pytest.mark.parametrize(
    "text",
    [
        "query($n: Int) { customers(first: $n) { nodes { id ...F } } } fragment F on Customer { tags }",
        "{ customers { nodes { unknown } } }",
        "{ customers(",
        "{ customers " + "{ nodes { contacts " * 20 + "{ totalCount }" + "} }" * 20 + "}",
    ],
    ids=["good", "unknown", "syntax", "deep"],
)
def test_a_document_that_is_let_go_of_is_no_garbage(text: str) -> None:
    def alive() -> int:
        return sum(isinstance(found, Token | Prepared) for found in gc.get_objects())

    gc.collect()
    before = alive()
    kept = prepared(text)
    shapes = [o.shape(o.coerce({"n": 3})) for o in kept.operations.values()]  # type: ignore[arg-type]
    assert shapes in ([], [(("n", 3),)])
    gc.collect()
    gc.disable()
    try:
        assert alive() > before
        del kept
        assert alive() == before
    finally:
        gc.enable()
