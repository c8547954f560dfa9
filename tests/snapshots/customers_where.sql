select json_build_object('customers', json_build_object('totalCount',
(select count(*)
from "customer" t2
where t2.deleted_at is null and ((t2."owner_id" = any($1::uuid[])) or exists (select 
from "customer_viewer" t3
where t3."customer_id" = t2.id and (((t3."user_id" = $2::uuid) or (t3."team_id" = any($3::uuid[])) or (t3."everyone" = $4::boolean)) and (t3."source" = any($5::text[]))))) and (((t2.search_fold like coalesce($6::text, '%' || regexp_replace(public.crm_fold($7::text), '([\\%_])', '\\\1', 'g') || '%') and case when t2."name_fold" like coalesce($6::text, '%' || regexp_replace(public.crm_fold($7::text), '([\\%_])', '\\\1', 'g') || '%') then true else false end) or (cardinality($8::text[]) > 0 and t2."tags" && $8::text[])) and ((t2."kind" = $9::text) is not true) and (t2."created_at" >= $10::timestamptz and t2."created_at" < $11::timestamptz))), 'nodes',
(select coalesce(json_agg(r), '[]'::json)
from (select t1."code" as "code", t1."name" as "name", t1."tags" as "tags"
from "customer" t1
where t1.deleted_at is null and ((t1."owner_id" = any($1::uuid[])) or exists (select 
from "customer_viewer" t4
where t4."customer_id" = t1.id and (((t4."user_id" = $2::uuid) or (t4."team_id" = any($3::uuid[])) or (t4."everyone" = $4::boolean)) and (t4."source" = any($5::text[]))))) and (((t1.search_fold like coalesce($6::text, '%' || regexp_replace(public.crm_fold($7::text), '([\\%_])', '\\\1', 'g') || '%') and case when t1."name_fold" like coalesce($6::text, '%' || regexp_replace(public.crm_fold($7::text), '([\\%_])', '\\\1', 'g') || '%') then true else false end) or (cardinality($8::text[]) > 0 and t1."tags" && $8::text[])) and ((t1."kind" = $9::text) is not true) and (t1."created_at" >= $12::timestamptz and t1."created_at" < $13::timestamptz))
order by t1."code_fold", t1.id
limit 50) r)))
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
