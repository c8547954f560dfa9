select json_build_object('customers', json_build_object('nodes',
(select coalesce(json_agg(r), '[]'::json)
from (select t1."code" as "code", t1."name" as "name", t1."created_at" as "createdAt"
from "customer" t1
where t1.id in ((select t2.id
from "customer" t2
where t2.deleted_at is null and (t2."owner_id" = $1::uuid)
order by t2."created_at" desc, t2.id desc
limit 4) union all (select t3.id
from "customer" t3
where t3.deleted_at is null and exists (select 
from "customer_viewer" t4
where t4."customer_id" = t3.id and (((t4."user_id" = $1::uuid) or (t4."team_id" = any($2::uuid[])) or (t4."everyone" = $3::boolean)) and (t4."source" = any($4::text[]))))
order by t3."created_at" desc, t3.id desc
limit 4))
order by t1."created_at" desc, t1.id desc
limit 3) r)))
-- $1: 00000000-0000-0000-0000-000000000101
-- $2: (UUID('00000000-0000-0000-0000-000000000200'),)
-- $3: True
-- $4: ('share', 'transfer')
