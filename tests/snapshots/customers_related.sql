select json_build_object('customers', json_build_object('nodes',
(select coalesce(json_agg(r), '[]'::json)
from (select t1."code" as "code", json_build_object('totalCount',
(select count(*)
from "contact" t10
where t10."customer_id" = t1.id and t10.deleted_at is null), 'nodes',
(select coalesce(json_agg(r), '[]'::json)
from (select t9."name" as "name"
from "contact" t9
where t9."customer_id" = t1.id and t9.deleted_at is null
order by t9."name_fold", t9.id
limit 2) r)) as "contacts"
from "customer" t1
where t1.deleted_at is null and ((t1."owner_id" = $1::uuid) or exists (select 
from "customer_viewer" t2
where t2."customer_id" = t1.id and (((t2."user_id" = $1::uuid) or (t2."team_id" = any($2::uuid[])) or (t2."everyone" = $3::boolean)) and (t2."source" = any($4::text[]))))) and (exists (select 
from "app_user" t3
where t3.id = t1."owner_id" and t3.deleted_at is null and (t3."login" = $5::text)) and (exists (select 
from "contact" t4
where t4."customer_id" = t1.id and t4.deleted_at is null and (t4."birthday" is not null)) and (((select count(*)
from "contact" t5
where t5."customer_id" = t1.id and t5.deleted_at is null) >= $6::bigint) and ((select count(*)
from "contact" t6
where t6."customer_id" = t1.id and t6.deleted_at is null) <= $7::bigint))) and (not exists (select 
from "opportunity" t7
where t7."customer_id" = t1.id and t7.deleted_at is null and ((t7."owner_id" = $1::uuid) or (t7."owner_id" = $1::uuid)) and ((t7."outcome" is distinct
from $8::text) is not true))))
order by (select t8."display_name"
from "app_user" t8
where t8.id = t1."owner_id" and t8.deleted_at is null) nulls last, t1."code_fold", t1.id
limit 50) r)))
-- $1: 00000000-0000-0000-0000-000000000101
-- $2: (UUID('00000000-0000-0000-0000-000000000200'),)
-- $3: True
-- $4: ('share', 'transfer')
-- $5: ann
-- $6: 1
-- $7: 4
-- $8: WON
