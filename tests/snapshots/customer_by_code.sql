select json_build_object('customer',
(select json_build_object('id', t1."id", 'code', t1."code", 'name', t1."name", 'kind', t1."kind", 'tags', t1."tags", 'nickname', (t2.custom->>'c0000000-0000-0000-0000-000000000002')::text, 'credit', trim_scale((t2.custom->>'c0000000-0000-0000-0000-000000000005')::numeric)::text, 'owner',
(select json_build_object('displayName', t3."display_name")
from "app_user" t3
where t3.id = t1."owner_id" and t3.deleted_at is null))
from "customer" t1, lateral (select t1.custom || '{}' as custom offset 0) t2
where (t1."code" = $1::text) and t1.deleted_at is null))
-- $1: KH0001
