select json_build_object('customers', json_build_object('nodes',
(select coalesce(json_agg(r), '[]'::json)
from (select t1."code" as "code", json_build_object('totalCount',
(select count(*)
from "contact" t19
where t19."customer_id" = t1.id and t19.deleted_at is null and exists (select 
from "customer" t20
where t20.id = t19."customer_id" and t20.deleted_at is null and (((t20."owner_id" = $1::uuid) or exists (select 
from "customer_viewer" t21
where t21."customer_id" = t20.id and ((t21."user_id" = $1::uuid) or (t21."team_id" = any($2::uuid[])) or (t21."everyone" = $3::boolean)))) and ((t20."owner_id" = $1::uuid) or exists (select 
from "customer_viewer" t22
where t22."customer_id" = t20.id and ((t22."user_id" = $1::uuid) or (t22."team_id" = any($2::uuid[])) or (t22."everyone" = $3::boolean))))))), 'nodes',
(select coalesce(json_agg(r), '[]'::json)
from (select t18."name" as "name"
from "contact" t18
where t18."customer_id" = t1.id and t18.deleted_at is null and exists (select 
from "customer" t23
where t23.id = t18."customer_id" and t23.deleted_at is null and (((t23."owner_id" = $1::uuid) or exists (select 
from "customer_viewer" t24
where t24."customer_id" = t23.id and ((t24."user_id" = $1::uuid) or (t24."team_id" = any($2::uuid[])) or (t24."everyone" = $3::boolean)))) and ((t23."owner_id" = $1::uuid) or exists (select 
from "customer_viewer" t25
where t25."customer_id" = t23.id and ((t25."user_id" = $1::uuid) or (t25."team_id" = any($2::uuid[])) or (t25."everyone" = $3::boolean))))))
order by t18."name_fold", t18.id
limit 2) r)) as "contacts"
from "customer" t1
where t1.deleted_at is null and ((t1."owner_id" = $1::uuid) or exists (select 
from "customer_viewer" t2
where t2."customer_id" = t1.id and ((t2."user_id" = $1::uuid) or (t2."team_id" = any($2::uuid[])) or (t2."everyone" = $3::boolean)))) and (exists (select 
from "app_user" t3
where t3.id = t1."owner_id" and t3.deleted_at is null and (t3."login" = $4::text)) and (exists (select 
from "contact" t4
where t4."customer_id" = t1.id and t4.deleted_at is null and exists (select 
from "customer" t5
where t5.id = t4."customer_id" and t5.deleted_at is null and (((t5."owner_id" = $1::uuid) or exists (select 
from "customer_viewer" t6
where t6."customer_id" = t5.id and ((t6."user_id" = $1::uuid) or (t6."team_id" = any($2::uuid[])) or (t6."everyone" = $3::boolean)))) and ((t5."owner_id" = $1::uuid) or exists (select 
from "customer_viewer" t7
where t7."customer_id" = t5.id and ((t7."user_id" = $1::uuid) or (t7."team_id" = any($2::uuid[])) or (t7."everyone" = $3::boolean)))))) and (t4."birthday" is not null)) and (((select count(*)
from "contact" t8
where t8."customer_id" = t1.id and t8.deleted_at is null and exists (select 
from "customer" t9
where t9.id = t8."customer_id" and t9.deleted_at is null and (((t9."owner_id" = $1::uuid) or exists (select 
from "customer_viewer" t10
where t10."customer_id" = t9.id and ((t10."user_id" = $1::uuid) or (t10."team_id" = any($2::uuid[])) or (t10."everyone" = $3::boolean)))) and ((t9."owner_id" = $1::uuid) or exists (select 
from "customer_viewer" t11
where t11."customer_id" = t9.id and ((t11."user_id" = $1::uuid) or (t11."team_id" = any($2::uuid[])) or (t11."everyone" = $3::boolean))))))) >= $5::bigint) and ((select count(*)
from "contact" t12
where t12."customer_id" = t1.id and t12.deleted_at is null and exists (select 
from "customer" t13
where t13.id = t12."customer_id" and t13.deleted_at is null and (((t13."owner_id" = $1::uuid) or exists (select 
from "customer_viewer" t14
where t14."customer_id" = t13.id and ((t14."user_id" = $1::uuid) or (t14."team_id" = any($2::uuid[])) or (t14."everyone" = $3::boolean)))) and ((t13."owner_id" = $1::uuid) or exists (select 
from "customer_viewer" t15
where t15."customer_id" = t13.id and ((t15."user_id" = $1::uuid) or (t15."team_id" = any($2::uuid[])) or (t15."everyone" = $3::boolean))))))) <= $6::bigint))) and (not exists (select 
from "opportunity" t16
where t16."customer_id" = t1.id and t16.deleted_at is null and ((t16."owner_id" = $1::uuid) or (t16."owner_id" = $1::uuid)) and ((t16."outcome" is distinct
from $7::text) is not true))))
order by (select t17."display_name"
from "app_user" t17
where t17.id = t1."owner_id" and t17.deleted_at is null) nulls last, t1."code_fold", t1.id
limit 50) r)))
-- $1: 00000000-0000-0000-0000-000000000101
-- $2: (UUID('00000000-0000-0000-0000-000000000200'),)
-- $3: True
-- $4: ann
-- $5: 1
-- $6: 4
-- $7: WON
