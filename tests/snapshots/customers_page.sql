select json_build_object('customers',
(select json_build_object('edges', coalesce(json_agg(p.v1
order by p.n) filter (where p.n <= 2), '[]'::json), 'pageInfo', json_build_object('hasNextPage', coalesce(max(p.n) > 2, false), 'hasPreviousPage', false, 'startCursor', (array_agg(p.v2
order by p.n) filter (where p.n <= 2))[1], 'endCursor', (array_agg(p.v3
order by p.n desc) filter (where p.n <= 2))[1]), 'totalCount',
(select count(*)
from "customer" t2
where t2.deleted_at is null))
from (select row_number() over () as n, json_build_object('cursor', translate(encode(convert_to(json_build_array((t1."province")::text, (t1."name_fold")::text, (t1.id)::text)::text, 'UTF8'), 'base64'), E'\n', ''), 'node', json_build_object('code', t1."code", 'province', t1."province")) as v1, translate(encode(convert_to(json_build_array((t1."province")::text, (t1."name_fold")::text, (t1.id)::text)::text, 'UTF8'), 'base64'), E'\n', '') as v2, translate(encode(convert_to(json_build_array((t1."province")::text, (t1."name_fold")::text, (t1.id)::text)::text, 'UTF8'), 'base64'), E'\n', '') as v3
from (select t1.*
from "customer" t1
where t1.deleted_at is null
order by t1."province" desc nulls first, t1."name_fold", t1.id
limit 3) t1) p
group by ()))
