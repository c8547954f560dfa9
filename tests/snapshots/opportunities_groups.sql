select json_build_object('opportunitiesAggregate',
(select row_to_json(q)
from (select s.m0 as "count",
(select row_to_json(v)
from (select trim_scale(s.m1::numeric)::text as "amount") v) as "sum",
(select row_to_json(v)
from (select trim_scale(s.m2::numeric)::text as "probability") v) as "avg",
(select coalesce(json_agg(r), '[]'::json)
from (select (select row_to_json(v)
from (select s.k0 as "stage", s.k1 as "expectedClose") v) as "key", s.m0 as "count",
(select row_to_json(v)
from (select trim_scale(s.m1::numeric)::text as "amount") v) as "sum"
from (select t3."stage" as k0, date_trunc('quarter', t3."expected_close")::date as k1, count(*) as m0, sum(t3."amount") as m1
from "opportunity" t3
where t3.deleted_at is null and (exists (select 
from "customer" t4
where t4.id = t3."customer_id" and t4.deleted_at is null) or (t3."owner_id" = $1::uuid)) and (t3."amount" is not null)
group by 1, 2) s
order by s.m1 desc nulls last, s.k0, s.k1
limit 4) r) as "groups"
from (select count(*) as m0, sum(t1."amount") as m1, avg(t1."probability") as m2
from "opportunity" t1
where t1.deleted_at is null and (exists (select 
from "customer" t2
where t2.id = t1."customer_id" and t2.deleted_at is null) or (t1."owner_id" = $1::uuid)) and (t1."amount" is not null)) s) q))
-- $1: 00000000-0000-0000-0000-000000000100
