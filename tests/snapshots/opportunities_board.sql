select json_build_object('opportunitiesGrouped',
(select coalesce(json_agg(r), '[]'::json)
from (select (select row_to_json(v)
from (select (select json_build_object('login', t3."login")
from "app_user" t3
where t3.id = s.k0 and t3.deleted_at is null and false) as "owner") v) as "key", s.total as "totalCount",
(select coalesce(json_agg(r), '[]'::json)
from (select t4."name" as "name", trim_scale(t4."amount")::text as "amount"
from "opportunity" t4
where t4."owner_id" is not distinct
from s.k0 and t4.deleted_at is null and (((t4."owner_id" = any($1::uuid[])) and exists (select 
from "customer" t5
where t5.id = t4."customer_id" and t5.deleted_at is null)) or (t4."owner_id" = $2::uuid))
order by t4."amount" desc nulls last, t4.id desc
limit 1) r) as "nodes"
from (select t1."owner_id" as k0, count(*) as total
from "opportunity" t1
where t1.deleted_at is null and (((t1."owner_id" = any($1::uuid[])) and exists (select 
from "customer" t2
where t2.id = t1."customer_id" and t2.deleted_at is null)) or (t1."owner_id" = $2::uuid))
group by 1) s
order by s.k0 nulls last
limit 1000) r))
-- $1: (UUID('00000000-0000-0000-0000-000000000101'), UUID('00000000-0000-0000-0000-000000000102'), UUID('00000000-0000-0000-0000-000000000108'), UUID('00000000-0000-0000-0000-00000000010a'))
-- $2: 00000000-0000-0000-0000-000000000108
