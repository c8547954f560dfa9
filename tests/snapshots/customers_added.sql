select json_build_object('customers',
(select json_build_object('nodes', coalesce(json_agg(p.v1
order by p.n) filter (where p.n <= 2), '[]'::json), 'edges', coalesce(json_agg(p.v2
order by p.n) filter (where p.n <= 2), '[]'::json))
from (select row_number() over () as n,
(select json_build_object('code', t1."code", 'nickname', (t2.custom->>'c0000000-0000-0000-0000-000000000002')::text, 'credit', trim_scale((t2.custom->>'c0000000-0000-0000-0000-000000000005')::numeric)::text)
from lateral (select t1.custom || '{}' as custom offset 0) t2) as v1, json_build_object('node',
(select json_build_object('code', t1."code", 'nickname', (t3.custom->>'c0000000-0000-0000-0000-000000000002')::text, 'credit', trim_scale((t3.custom->>'c0000000-0000-0000-0000-000000000005')::numeric)::text, 'owner',
(select json_build_object('displayName', t4."display_name")
from "app_user" t4
where t4.id = t1."owner_id" and t4.deleted_at is null))
from lateral (select t1.custom || '{}' as custom offset 0) t3)) as v2
from (select t1.*
from "customer" t1
where t1.deleted_at is null
order by t1."code_fold", t1.id
limit 3) t1) p
group by ()), 'plain', json_build_object('nodes',
(select coalesce(json_agg(r.j), '[]'::json)
from (select (select json_build_object('code', t5."code", 'nickname', (t6.custom->>'c0000000-0000-0000-0000-000000000002')::text, 'credit', trim_scale((t6.custom->>'c0000000-0000-0000-0000-000000000005')::numeric)::text)
from lateral (select t5.custom || '{}' as custom offset 0) t6) as j
from "customer" t5
where t5.deleted_at is null
order by t5."code_fold", t5.id
limit 2) r)))
