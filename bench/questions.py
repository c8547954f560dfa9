"""The questions of the reads benchmark: as GraphQL, and as the statement a careful hand would write for them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    name: str
    title: str
    graphql: str
    sql: str
    variables: tuple[str, ...]


POINT = Question(
    "q1",
    "one customer by id, 8 fields",
    "query Q1($id: ID!) { customer(id: $id) { id code name email phone officeAddress birthday createdAt } }",
    """
    select json_build_object('data', json_build_object('customer', (
      select json_build_object('id', c.id, 'code', c.code, 'name', c.name, 'email', c.email, 'phone', c.phone,
        'officeAddress', c.office_address, 'birthday', c.birthday, 'createdAt', c.created_at)
      from customer c where c.id = $1::text::uuid and c.deleted_at is null)))
    """,
    ("id",),
)

LIST = Question(
    "q2",
    "first 50 by date with owner",
    """query Q2($first: Int!) { customers(first: $first, orderBy: [{field: CREATED_AT, direction: DESC}]) { nodes {
      id code name email phone taxCode officeAddress website birthday level createdAt updatedAt
      owner { displayName } } } }""",
    """
    select json_build_object('data', json_build_object('customers', json_build_object('nodes',
      coalesce(json_agg(x.j order by x.created_at desc, x.id desc), '[]'::json))))
    from (
      select c.created_at, c.id, json_build_object('id', c.id, 'code', c.code, 'name', c.name, 'email', c.email,
        'phone', c.phone, 'taxCode', c.tax_code, 'officeAddress', c.office_address, 'website', c.website,
        'birthday', c.birthday, 'level', c.level, 'createdAt', c.created_at, 'updatedAt', c.updated_at,
        'owner', case when u.id is not null then json_build_object('displayName', u.display_name) end) as j
      from (select * from customer where deleted_at is null order by created_at desc, id desc limit $1::int) c
      left join app_user u on u.id = c.owner_id and u.deleted_at is null
    ) x
    """,
    ("first",),
)

DEEP = Question(
    "q3",
    "20 of one owner with contacts, opportunities and their owners",
    """query Q3($owner: ID!) { customers(first: 20, where: {ownerId: {eq: $owner}}) { nodes {
      id code name email phone owner { displayName }
      contacts { nodes { id name email phones } }
      opportunities { nodes { id name stage probability amount owner { displayName } } } } } }""",
    """
    select json_build_object('data', json_build_object('customers', json_build_object('nodes',
      coalesce(json_agg(x.j order by x.created_at desc, x.id desc), '[]'::json))))
    from (
      select c.created_at, c.id, json_build_object('id', c.id, 'code', c.code, 'name', c.name, 'email', c.email,
        'phone', c.phone, 'owner', case when u.id is not null then json_build_object('displayName', u.display_name) end,
        'contacts', json_build_object('nodes', k.j), 'opportunities', json_build_object('nodes', o.j)) as j
      from (select * from customer where owner_id = $1::text::uuid and deleted_at is null
            order by created_at desc, id desc limit 20) c
      left join app_user u on u.id = c.owner_id and u.deleted_at is null
      left join lateral (
        select coalesce(json_agg(json_build_object('id', k.id, 'name', k.name, 'email', k.email, 'phones', k.phones)
          order by k.created_at desc, k.id desc), '[]'::json) j
        from (select * from contact k where k.customer_id = c.id and k.deleted_at is null
              order by k.created_at desc, k.id desc limit 50) k) k on true
      left join lateral (
        select coalesce(json_agg(json_build_object('id', o.id, 'name', o.name, 'stage', o.stage,
          'probability', o.probability, 'amount', trim_scale(o.amount)::text,
          'owner', case when ou.id is not null then json_build_object('displayName', ou.display_name) end)
          order by o.created_at desc, o.id desc), '[]'::json) j
        from (select * from opportunity o where o.customer_id = c.id and o.deleted_at is null
              order by o.created_at desc, o.id desc limit 50) o
        left join app_user ou on ou.id = o.owner_id and ou.deleted_at is null) o on true
    ) x
    """,
    ("owner",),
)

QUESTIONS = (POINT, LIST, DEEP)
