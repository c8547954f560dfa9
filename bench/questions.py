"""The questions of the reads benchmark: as GraphQL, and as the statement a careful hand would write for them.

`{visible}` and `{mine}` in a statement stand for the row policy of customers and of opportunities, which the limit has
in its SQL, too: see `WHO`. Questions with `postgraphile` are put to PostGraphile as well.
"""

from __future__ import annotations

from dataclasses import dataclass

_SHARED = """exists (select from customer_viewer v where v.customer_id = c.id
    and (v.user_id = :actor or v.team_id = any(:teams) or v.everyone))"""

#: Kinds of actor, with the policy that each one's SQL has: for customers `c` and for opportunities `o`.
WHO: dict[str, tuple[str, str]] = {
    "all": ("true", "true"),
    "team": (f"(c.owner_id = any(:mates) or {_SHARED})", "o.owner_id = any(:mates)"),
    "shared": (f"(c.owner_id = :actor or {_SHARED})", "o.owner_id = :actor"),
}
_ACTOR = {":actor": "uuid", ":teams": "uuid[]", ":mates": "uuid[]"}


@dataclass(frozen=True)
class Question:
    name: str
    title: str
    graphql: str
    sql: str
    variables: tuple[str, ...]
    postgraphile: str = ""

    def statement(self, who: str) -> tuple[str, list[str]]:
        """The statement for a kind of actor, and which facts of the actor follow the variables as parameters."""
        customers, opportunities = WHO[who]
        sql, extra = self.sql.replace("{visible}", customers).replace("{mine}", opportunities), []
        for name, type_ in _ACTOR.items():
            if name in sql:
                extra.append(name[1:])
                sql = sql.replace(name, f"${len(self.variables) + len(extra)}::{type_}")
        return sql, extra


POINT = Question(
    "q1",
    "one customer by id, 8 fields",
    "query Q1($id: ID!) { customer(id: $id) { id code name email phone officeAddress birthday createdAt } }",
    """
    select json_build_object('data', json_build_object('customer', (
      select json_build_object('id', c.id, 'code', c.code, 'name', c.name, 'email', c.email, 'phone', c.phone,
        'officeAddress', c.office_address, 'birthday', c.birthday, 'createdAt', c.created_at)
      from customer c where c.id = $1::text::uuid and c.deleted_at is null and {visible})))
    """,
    ("id",),
    "query Q1($id: UUID!) { customer: customerByRowId(rowId: $id) { id: rowId code name email phone officeAddress"
    " birthday createdAt } }",
)

_ROW = """id code name email phone taxCode officeAddress website birthday level createdAt updatedAt
      owner { displayName }"""


_LIST_SQL = """
    select json_build_object('data', json_build_object('customers', json_build_object('nodes',
      coalesce(json_agg(x.j order by x.created_at desc, x.id desc), '[]'::json))))
    from (
      select c.created_at, c.id, json_build_object('id', c.id, 'code', c.code, 'name', c.name, 'email', c.email,
        'phone', c.phone, 'taxCode', c.tax_code, 'officeAddress', c.office_address, 'website', c.website,
        'birthday', c.birthday, 'level', c.level, 'createdAt', c.created_at, 'updatedAt', c.updated_at,
        'owner', case when u.id is not null then json_build_object('displayName', u.display_name) end) as j
      from (select * from customer c where c.deleted_at is null and {visible} {page}
            order by c.created_at desc, c.id desc limit $1::int) c
      left join app_user u on u.id = c.owner_id and u.deleted_at is null
    ) x
    """


_PG_ROW = _ROW.replace("id code", "id: rowId code").replace("owner {", "owner: appUserByOwnerId {")

LIST = Question(
    "q2",
    "first 50 by date with owner",
    "query Q2($first: Int!) { customers(first: $first, orderBy: [{field: CREATED_AT, direction: DESC}]) { nodes {"
    f" {_ROW} }} }} }}",
    _LIST_SQL.replace("{page}", ""),
    ("first",),
    "query Q2($first: Int!) { customers: allCustomers(first: $first, orderBy: [CREATED_AT_DESC, ROW_ID_DESC],"
    f" filter: {{deletedAt: {{isNull: true}}}}) {{ nodes {{ {_PG_ROW} }} }} }}",
)

PAGE = Question(
    "q2k",
    "the same, page 1,000 by cursor",
    "query Q2k($first: Int!, $after: String!) { customers(first: $first, after: $after,"
    f" orderBy: [{{field: CREATED_AT, direction: DESC}}]) {{ nodes {{ {_ROW} }} }} }}",
    _LIST_SQL.replace("{page}", "and (c.created_at, c.id) < ($2::text::timestamptz, $3::text::uuid)"),
    ("first", "createdAt", "id"),
    "query Q2k($first: Int!, $cursor: Cursor!) { customers: allCustomers(first: $first, after: $cursor,"
    " orderBy: [CREATED_AT_DESC, ROW_ID_DESC], filter: {deletedAt: {isNull: true}})"
    f" {{ nodes {{ {_PG_ROW} }} }} }}",
)

_DEEP_SQL = """
    select json_build_object('data', json_build_object('customers', json_build_object(%(total)s 'nodes',
      coalesce(json_agg(x.j order by x.created_at desc, x.id desc), '[]'::json))))
    from (
      select c.created_at, c.id, json_build_object('id', c.id, 'code', c.code, 'name', c.name, 'email', c.email,
        'phone', c.phone, 'owner', case when u.id is not null then json_build_object('displayName', u.display_name) end,
        'contacts', json_build_object('totalCount', k.n, 'nodes', k.j),
        'opportunities', json_build_object('totalCount', o.n, 'nodes', o.j), %(sums)s
        'groups', json_build_object('nodes', g.j)) as j
      from (select * from customer c where c.owner_id = $1::text::uuid and c.deleted_at is null and {visible}
            order by c.created_at desc, c.id desc limit 20) c
      left join app_user u on u.id = c.owner_id and u.deleted_at is null
      left join lateral (
        select count(*) n, coalesce(json_agg(json_build_object('id', k.id, 'name', k.name, 'email', k.email,
          'phones', k.phones) order by k.created_at desc, k.id desc) filter (where k.i <= 50), '[]'::json) j
        from (select k.*, row_number() over (order by k.created_at desc, k.id desc) i
              from contact k where k.customer_id = c.id and k.deleted_at is null) k) k on true
      left join lateral (
        select count(*) n, coalesce(sum(o.amount), 0) total, sum(o.amount) s,
          coalesce(json_agg(json_build_object('id', o.id, 'name', o.name, 'stage', o.stage,
          'probability', o.probability, 'amount', trim_scale(o.amount)::text,
          'owner', case when ou.id is not null then json_build_object('displayName', ou.display_name) end)
          order by o.created_at desc, o.id desc) filter (where o.i <= 50), '[]'::json) j
        from (select o.*, row_number() over (order by o.created_at desc, o.id desc) i
              from opportunity o where o.customer_id = c.id and o.deleted_at is null and {mine}) o
        left join app_user ou on ou.id = o.owner_id and ou.deleted_at is null) o on true
      left join lateral (
        select coalesce(json_agg(json_build_object('name', g.name) order by g.created_at desc, g.id desc),
          '[]'::json) j
        from group_member m join customer_group g on g.id = m.group_id and g.deleted_at is null
        where m.customer_id = c.id) g on true
    ) x
    """
_DEEP_ROW = """id code name email phone owner { displayName }
      contacts { totalCount nodes { id name email phones } }
      opportunities { totalCount nodes { id name stage probability amount owner { displayName } } }
      groups { nodes { name } }"""

DEEP = Question(
    "q3",
    "20 of one owner: owner, contacts, opportunities with owners, groups",
    "query Q3($owner: ID!) { customers(first: 20, where: {ownerId: {eq: $owner}}) { nodes {"
    f" {_DEEP_ROW} }} }} }}",
    _DEEP_SQL % {"total": "", "sums": ""},
    ("owner",),
    """query Q3($owner: UUID!) { customers: allCustomers(first: 20, orderBy: [CREATED_AT_DESC, ROW_ID_DESC],
      filter: {ownerId: {equalTo: $owner}, deletedAt: {isNull: true}}) { nodes {
      id: rowId code name email phone owner: appUserByOwnerId { displayName }
      contacts: contactsByCustomerId(first: 50, orderBy: [CREATED_AT_DESC, ROW_ID_DESC],
        filter: {deletedAt: {isNull: true}}) {
        totalCount nodes { id: rowId name email phones } }
      opportunities: opportunitiesByCustomerId(first: 50, orderBy: [CREATED_AT_DESC, ROW_ID_DESC],
        filter: {deletedAt: {isNull: true}}) {
        totalCount nodes { id: rowId name stage probability amount owner: appUserByOwnerId { displayName } } }
      groups: groupMembersByCustomerId { nodes { group: customerGroupByGroupId { name createdAt rowId } } } } } }""",
)

TOTALS = Question(
    "q3t",
    "the same with the total of the list and sums per customer",
    "query Q3t($owner: ID!) { customers(first: 20, where: {ownerId: {eq: $owner}}) { totalCount nodes {"
    f" {_DEEP_ROW.replace('contacts {', 'contacts(first: 20) {').replace('ties {', 'ties(first: 20) {')}"
    " opportunitiesAggregate { count sum { amount } } } } }",
    _DEEP_SQL
    % {
        "total": """'totalCount', (select count(*) from customer c
          where c.owner_id = $1::text::uuid and c.deleted_at is null and {visible}),""",
        "sums": """'opportunitiesAggregate', json_build_object('count', o.n,
          'sum', json_build_object('amount', trim_scale(o.s)::text)),""",
    },
    ("owner",),
)

_GROUPS_SQL = """c.created_at >= $1::text::timestamptz and c.deleted_at is null and {visible}
        and exists (select from group_member m where m.customer_id = c.id
          and m.group_id in ($2::text::uuid, $3::text::uuid))
        and not exists (select from group_member m where m.customer_id = c.id and m.group_id = $4::text::uuid)"""

GROUPS = Question(
    "q4",
    "since a date, in one of two groups and not in a third, first 50 and total",
    """query Q4($since: DateTime!, $any: [ID!]!, $none: [ID!]!) { customers(first: 50, where: {createdAt: {gte: $since},
      groups: {or: $any, none: $none}}) { totalCount nodes { id code name email phone level } } }""",
    f"""
    select json_build_object('data', json_build_object('customers', json_build_object(
      'totalCount', (select count(*) from customer c where {_GROUPS_SQL}),
      'nodes', (select coalesce(json_agg(json_build_object('id', p.id, 'code', p.code, 'name', p.name,
          'email', p.email, 'phone', p.phone, 'level', p.level) order by p.created_at desc, p.id desc), '[]'::json)
        from (select c.* from customer c where {_GROUPS_SQL}
              order by c.created_at desc, c.id desc limit 50) p))))
    """,
    ("since", "one", "other", "third"),
    """query Q4($since: Datetime!, $any: [UUID!]!, $none: [UUID!]!) { customers: allCustomers(first: 50,
      orderBy: [CREATED_AT_DESC, ROW_ID_DESC], filter: {createdAt: {greaterThanOrEqualTo: $since},
      deletedAt: {isNull: true}, groupMembersByCustomerId: {some: {groupId: {in: $any}},
        none: {groupId: {in: $none}}}}) {
      totalCount nodes { id: rowId code name email phone level } } }""",
)

CONTAINS = Question(
    "q5",
    "name contains three letters, first 20 with owner",
    """query Q5($text: String!) { customers(first: 20, where: {name: {contains: $text}}) { nodes {
      id code name email phone level owner { displayName } } } }""",
    """
    select json_build_object('data', json_build_object('customers', json_build_object('nodes',
      coalesce(json_agg(x.j order by x.created_at desc, x.id desc), '[]'::json))))
    from (
      select c.created_at, c.id, json_build_object('id', c.id, 'code', c.code, 'name', c.name, 'email', c.email,
        'phone', c.phone, 'level', c.level,
        'owner', case when u.id is not null then json_build_object('displayName', u.display_name) end) as j
      from (select * from customer c
            where c.name_fold like '%' || $1::text || '%' and c.deleted_at is null and {visible}
            order by c.created_at desc, c.id desc limit 20) c
      left join app_user u on u.id = c.owner_id and u.deleted_at is null
    ) x
    """,
    ("text",),
    """query Q5($text: String!) { customers: allCustomers(first: 20, orderBy: [CREATED_AT_DESC, ROW_ID_DESC],
      filter: {nameFold: {includes: $text}, deletedAt: {isNull: true}}) { nodes {
      id: rowId code name email phone level owner: appUserByOwnerId { displayName } } } }""",
)

QUESTIONS = (POINT, LIST, PAGE, DEEP, TOTALS, GROUPS, CONTAINS)
BY_NAME = {q.name: q for q in QUESTIONS}
