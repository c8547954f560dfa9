select json_build_object('contacts', json_build_object('nodes',
(select coalesce(json_agg(r), '[]'::json)
from (select t1."name" as "name",
(select json_build_object('code', t3."code")
from "customer" t3
where t3.id = t1."customer_id" and t3.deleted_at is null) as "customer"
from "contact" t1
where t1.deleted_at is null and exists (select 
from "customer" t2
where t2.id = t1."customer_id" and t2.deleted_at is null) and t1.search_fold like coalesce($1::text, '%' || regexp_replace(public.crm_fold($2::text), '([\\%_])', '\\\1', 'g') || '%') and t1.search_fold like coalesce($3::text, '%' || regexp_replace(public.crm_fold($4::text), '([\\%_])', '\\\1', 'g') || '%')
order by t1."name_fold", t1.id
limit 5) r)))
where ($5::boolean or (select count(*)
from generate_series(1, 1000000000)) = 0)
-- $1: %nguyen%
-- $2: nguyen
-- $3: %an%
-- $4: an
-- $5: True
