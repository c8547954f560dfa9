select json_build_object('customers',
(select json_build_object('nodes', coalesce(json_agg(p.v1
order by p.n desc) filter (where p.n <= 2), '[]'::json), 'pageInfo', json_build_object('hasNextPage', true, 'hasPreviousPage', coalesce(max(p.n) > 2, false)))
from (select row_number() over () as n, json_build_object('code', t1."code", 'createdAt', t1."created_at") as v1
from (select t1.*
from "customer" t1
where t1.deleted_at is null and (t1."created_at", t1.id) > ($1::text::timestamptz, $2::text::uuid)
order by t1."created_at", t1.id
limit 3) t1) p
group by ()))
-- $1: 2026-03-01 00:00:00+00
-- $2: 00000000-0000-0000-0000-000000000000
