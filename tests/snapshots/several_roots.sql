select json_build_object('mine',
(select row_to_json(q)
from (select s.m0 as "count"
from (select count(*) as m0
from "customer" t1
where t1.deleted_at is null and ((t1."owner_id" = any($1::uuid[])) or exists (select 
from "customer_viewer" t2
where t2."customer_id" = t1.id and (((t2."user_id" = $2::uuid) or (t2."team_id" = any($3::uuid[])) or (t2."everyone" = $4::boolean)) and (t2."source" = any($5::text[]))))) and exists (select 
from "app_user" t3
where t3.id = t1."owner_id" and t3.deleted_at is null and (t3."login" = $6::text))) s) q), 'users', json_build_object('nodes',
(select coalesce(json_agg(r), '[]'::json)
from (select t4."login" as "login",
(select row_to_json(q)
from (select s.m0 as "count"
from (select count(*) as m0
from "customer" t5
where t5."owner_id" = t4.id and t5.deleted_at is null and ((t5."owner_id" = any($1::uuid[])) or exists (select 
from "customer_viewer" t6
where t6."customer_id" = t5.id and (((t6."user_id" = $2::uuid) or (t6."team_id" = any($3::uuid[])) or (t6."everyone" = $4::boolean)) and (t6."source" = any($5::text[])))))) s) q) as "customersAggregate", json_build_object('totalCount',
(select count(*)
from "opportunity" t8
where t8."owner_id" = t4.id and t8.deleted_at is null and (((t8."owner_id" = any($1::uuid[])) and exists (select 
from "customer" t9
where t9.id = t8."customer_id" and t9.deleted_at is null and ((t9."owner_id" = any($1::uuid[])) or exists (select 
from "customer_viewer" t10
where t10."customer_id" = t9.id and (((t10."user_id" = $2::uuid) or (t10."team_id" = any($3::uuid[])) or (t10."everyone" = $4::boolean)) and (t10."source" = any($5::text[]))))))) or (t8."owner_id" = $2::uuid)))) as "opportunities"
from "app_user" t4
where t4.deleted_at is null
order by t4."login", t4.id
limit 2) r)))
-- $1: (UUID('00000000-0000-0000-0000-000000000102'), UUID('00000000-0000-0000-0000-000000000103'), UUID('00000000-0000-0000-0000-000000000109'))
-- $2: 00000000-0000-0000-0000-000000000103
-- $3: (UUID('00000000-0000-0000-0000-000000000201'),)
-- $4: True
-- $5: ('share', 'transfer')
-- $6: cat
