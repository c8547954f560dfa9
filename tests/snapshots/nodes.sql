select json_build_object('nodes',
(select coalesce(json_agg(coalesce((select json_build_object('__typename', 'Customer'::text, 'id', t1."id")
from "customer" t1
where t1.id = u.id and t1.deleted_at is null),
(select json_build_object('__typename', 'Contact'::text, 'id', t2."id")
from "contact" t2
where t2.id = u.id and t2.deleted_at is null and exists (select 
from "customer" t3
where t3.id = t2."customer_id" and t3.deleted_at is null)),
(select json_build_object('__typename', 'Opportunity'::text, 'id', t4."id")
from "opportunity" t4
where t4.id = u.id and t4.deleted_at is null and (exists (select 
from "customer" t5
where t5.id = t4."customer_id" and t5.deleted_at is null) or (t4."owner_id" = $2::uuid))),
(select json_build_object('__typename', 'User'::text, 'id', t6."id", 'login', t6."login", 'teams', json_build_object('nodes',
(select coalesce(json_agg(r), '[]'::json)
from (select t7."name" as "name"
from "team" t7
where t7.id in (select t8."team_id"
from "team_member" t8
where t8."user_id" = t6.id) and t7.deleted_at is null
order by t7."created_at" desc, t7.id desc
limit 50) r)))
from "app_user" t6
where t6.id = u.id and t6.deleted_at is null),
(select json_build_object('__typename', 'Team'::text, 'id', t9."id", 'name', t9."name", 'lead',
(select json_build_object('login', t10."login")
from "app_user" t10
where t10.id = t9."lead_id" and t10.deleted_at is null))
from "team" t9
where t9.id = u.id and t9.deleted_at is null),
(select json_build_object('__typename', 'Role'::text, 'id', t11."id")
from "role" t11
where t11.id = u.id and t11.deleted_at is null),
(select json_build_object('__typename', 'PermissionGrant'::text, 'id', t12."id")
from "permission_grant" t12
where t12.id = u.id and exists (select 
from "role" t13
where t13.id = t12."role_id" and t13.deleted_at is null)),
(select json_build_object('__typename', 'FieldRule'::text, 'id', t14."id")
from "field_rule" t14
where t14.id = u.id and exists (select 
from "role" t15
where t15.id = t14."role_id" and t15.deleted_at is null)),
(select json_build_object('__typename', 'ChangeSet'::text, 'id', t16."id")
from "change_set" t16
where t16.id = u.id),
(select json_build_object('__typename', 'Job'::text, 'id', t17."id")
from "job" t17
where t17.id = u.id and false),
(select json_build_object('__typename', 'File'::text, 'id', t18."id")
from "file" t18
where t18.id = u.id and false))
order by u.n), '[]'::json)
from unnest($1::uuid[]) with ordinality u(id, n)))
-- $1: [UUID('00000000-0000-0000-0000-000000000101'), None, UUID('00000000-0000-0000-0000-000000000200')]
-- $2: 00000000-0000-0000-0000-000000000100
