select json_build_object('customers', json_build_object('nodes',
(select coalesce(json_agg(r), '[]'::json)
from (select t1."code" as "code", t1."name" as "name", t1."created_at" as "createdAt"
from "customer" t1
where t1.deleted_at is null and ((t1."owner_id" = $1::uuid) or exists (select 
from "customer_viewer" t2
where t2."customer_id" = t1.id and (((t2."user_id" = $1::uuid) or (t2."team_id" = any($2::uuid[])) or (t2."everyone" = $3::boolean)) and (t2."source" = any($4::text[])))))
order by t1."created_at" desc, t1.id desc
limit 3) r)))
-- $1: 00000000-0000-0000-0000-000000000101
-- $2: (UUID('00000000-0000-0000-0000-000000000200'),)
-- $3: True
-- $4: ('share', 'transfer')
