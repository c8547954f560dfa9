select json_build_object('opportunitiesGrouped',
(select coalesce(json_agg(r), '[]'::json)
from (select (select row_to_json(v)
from (select (select json_build_object('login', t2."login")
from "app_user" t2
where t2.id = s.k0 and t2.deleted_at is null and false) as "owner") v) as "key", s.total as "totalCount", s.v0 as "nodes"
from (select k0, total, g, coalesce(json_agg(v0
order by n) filter (where n <= 1), '[]'::json) as v0
from (select w.k0, w.total, w.g, w.n, json_build_object('name', t4."name", 'amount', trim_scale(t4."amount")::text) as v0
from (select t1.id, t1."owner_id" as k0, count(*) over (partition by t1."owner_id") as total, dense_rank() over (order by t1."owner_id") as g, row_number() over (partition by t1."owner_id"
order by t1."amount" desc nulls last, t1.id desc) as n
from "opportunity" t1
where t1.deleted_at is null and (((t1."owner_id" = any($1::uuid[])) and exists (select 
from "customer" t3
where t3.id = t1."customer_id" and t3.deleted_at is null)) or (t1."owner_id" = $2::uuid))) w join "opportunity" t4 on t4.id = w.id
where w.g <= 1000 and w.n <= 1) f
group by k0, total, g) s
order by s.g) r))
-- $1: (UUID('00000000-0000-0000-0000-000000000101'), UUID('00000000-0000-0000-0000-000000000102'), UUID('00000000-0000-0000-0000-000000000108'), UUID('00000000-0000-0000-0000-00000000010a'))
-- $2: 00000000-0000-0000-0000-000000000108
