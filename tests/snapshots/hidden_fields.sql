select json_build_object('customers', json_build_object('nodes',
(select coalesce(json_agg(r), '[]'::json)
from (select t1."code" as "code", null as "phone", null as "shoeSize", null as "owner", t1."birthday" as "birthday"
from "customer" t1
where t1.deleted_at is null
order by t1."code_fold", t1.id
limit 2) r)))
