select json_build_object('customers', json_build_object('totalCount',
(select count(*)
from "customer" t2
where t2.deleted_at is null and ((t2."owner_id" = any($1::uuid[])) or exists (select 
from "customer_viewer" t3
where t3."customer_id" = t2.id and (((t3."user_id" = $2::uuid) or (t3."team_id" = any($3::uuid[])) or (t3."everyone" = $4::boolean)) and (t3."source" = any($5::text[]))))) and (((case when t2."name_fold" like coalesce($6::text, '%' || regexp_replace(public.crm_fold($7::text), '([\\%_])', '\\\1', 'g') || '%') then true else false end and t2.search_fold like coalesce($6::text, '%' || regexp_replace(public.crm_fold($7::text), '([\\%_])', '\\\1', 'g') || '%')) or (cardinality($8::text[]) > 0 and t2."tags" && $8::text[])) and ((t2."kind" = $9::text) is not true) and (t2."created_at" >= $10::timestamptz and t2."created_at" < $11::timestamptz))), 'nodes',
(select coalesce(json_agg(r), '[]'::json)
from (select t1."code" as "code", t1."name" as "name", t1."tags" as "tags"
from "customer" t1
where t1.id in ((select t4.id
from "customer" t4
where t4.deleted_at is null and (t4."owner_id" = any($1::uuid[])) and (((case when t4."name_fold" like coalesce($6::text, '%' || regexp_replace(public.crm_fold($7::text), '([\\%_])', '\\\1', 'g') || '%') then true else false end and t4.search_fold like coalesce($6::text, '%' || regexp_replace(public.crm_fold($7::text), '([\\%_])', '\\\1', 'g') || '%')) or (cardinality($8::text[]) > 0 and t4."tags" && $8::text[])) and ((t4."kind" = $9::text) is not true) and (t4."created_at" >= $12::timestamptz and t4."created_at" < $13::timestamptz))
order by t4."code_fold", t4.id
limit 51) union all (select t5.id
from "customer" t5
where t5.deleted_at is null and exists (select 
from "customer_viewer" t6
where t6."customer_id" = t5.id and (((t6."user_id" = $2::uuid) or (t6."team_id" = any($3::uuid[])) or (t6."everyone" = $4::boolean)) and (t6."source" = any($5::text[])))) and (((case when t5."name_fold" like coalesce($6::text, '%' || regexp_replace(public.crm_fold($7::text), '([\\%_])', '\\\1', 'g') || '%') then true else false end and t5.search_fold like coalesce($6::text, '%' || regexp_replace(public.crm_fold($7::text), '([\\%_])', '\\\1', 'g') || '%')) or (cardinality($8::text[]) > 0 and t5."tags" && $8::text[])) and ((t5."kind" = $9::text) is not true) and (t5."created_at" >= $14::timestamptz and t5."created_at" < $15::timestamptz))
order by t5."code_fold", t5.id
limit 51))
order by t1."code_fold", t1.id
limit 50) r)))
where ($16::boolean or (select count(*)
from generate_series(1, 1000000000)) = 0)
-- $1: (UUID('00000000-0000-0000-0000-000000000102'), UUID('00000000-0000-0000-0000-000000000103'), UUID('00000000-0000-0000-0000-000000000109'))
-- $2: 00000000-0000-0000-0000-000000000103
-- $3: (UUID('00000000-0000-0000-0000-000000000201'),)
-- $4: True
-- $5: ('share', 'transfer')
-- $6: %nguyen%
-- $7: nguyen
-- $8: ['vip']
-- $9: PERSON
-- $10: 2025-11-17 09:30:00+00:00
-- $11: 2026-03-17 09:30:00.000001+00:00
-- $12: 2025-11-17 09:30:00+00:00
-- $13: 2026-03-17 09:30:00.000001+00:00
-- $14: 2025-11-17 09:30:00+00:00
-- $15: 2026-03-17 09:30:00.000001+00:00
-- $16: True
