select json_build_object('customers', json_build_object('nodes',
(select coalesce(json_agg(r), '[]'::json)
from (select t1."code" as "code", json_build_object('totalCount',
(select count(*)
from "contact" t18
where t18."customer_id" = t1.id and t18.deleted_at is null), 'nodes',
(select coalesce(json_agg(r), '[]'::json)
from (select t17."name" as "name"
from "contact" t17
where t17."customer_id" = t1.id and t17.deleted_at is null
order by t17."name_fold", t17.id
limit 2) r)) as "contacts"
from "customer" t1
where t1.id in ((select t2.id
from "customer" t2
where t2.deleted_at is null and (t2."owner_id" = $1::uuid) and (exists (select 
from "app_user" t3
where t3.id = t2."owner_id" and t3.deleted_at is null and (t3."login" = $2::text)) and (exists (select 
from "contact" t4
where t4."customer_id" = t2.id and t4.deleted_at is null and (t4."birthday" is not null)) and (((select count(*)
from "contact" t5
where t5."customer_id" = t2.id and t5.deleted_at is null) >= $3::bigint) and ((select count(*)
from "contact" t6
where t6."customer_id" = t2.id and t6.deleted_at is null) <= $4::bigint))) and (not exists (select 
from "opportunity" t7
where t7."customer_id" = t2.id and t7.deleted_at is null and ((t7."owner_id" = $1::uuid) or (t7."owner_id" = $1::uuid)) and ((t7."outcome" is distinct
from $5::text) is not true))))
order by (select t8."display_name"
from "app_user" t8
where t8.id = t2."owner_id" and t8.deleted_at is null) nulls last, t2."code_fold", t2.id
limit 51) union all (select t9.id
from "customer" t9
where t9.deleted_at is null and exists (select 
from "customer_viewer" t10
where t10."customer_id" = t9.id and (((t10."user_id" = $1::uuid) or (t10."team_id" = any($6::uuid[])) or (t10."everyone" = $7::boolean)) and (t10."source" = any($8::text[])))) and (exists (select 
from "app_user" t11
where t11.id = t9."owner_id" and t11.deleted_at is null and (t11."login" = $2::text)) and (exists (select 
from "contact" t12
where t12."customer_id" = t9.id and t12.deleted_at is null and (t12."birthday" is not null)) and (((select count(*)
from "contact" t13
where t13."customer_id" = t9.id and t13.deleted_at is null) >= $3::bigint) and ((select count(*)
from "contact" t14
where t14."customer_id" = t9.id and t14.deleted_at is null) <= $4::bigint))) and (not exists (select 
from "opportunity" t15
where t15."customer_id" = t9.id and t15.deleted_at is null and ((t15."owner_id" = $1::uuid) or (t15."owner_id" = $1::uuid)) and ((t15."outcome" is distinct
from $5::text) is not true))))
order by (select t16."display_name"
from "app_user" t16
where t16.id = t9."owner_id" and t16.deleted_at is null) nulls last, t9."code_fold", t9.id
limit 51))
order by (select t19."display_name"
from "app_user" t19
where t19.id = t1."owner_id" and t19.deleted_at is null) nulls last, t1."code_fold", t1.id
limit 50) r)))
-- $1: 00000000-0000-0000-0000-000000000101
-- $2: ann
-- $3: 1
-- $4: 4
-- $5: WON
-- $6: (UUID('00000000-0000-0000-0000-000000000200'),)
-- $7: True
-- $8: ('share', 'transfer')
