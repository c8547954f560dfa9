from piccolo.columns import UUID, Text
from piccolo.table import Table

from core import (
    AUDIT,
    ID,
    Argument,
    Field,
    Kind,
    Query,
    RecordType,
    Rulebook,
    RuleSet,
    explain_rule,
    hookimpl,
)

#: What the last batches did: the ids of customers that may be affected, and the names of watches each satisfies.
SEEN = []


class Watch(Table, tablename="watch"):
    id = UUID(primary_key=True)
    name = Text()


def make(catalog, rules):
    return RuleSet(catalog, {r.values["name"]: r.rule for r in rules if r.rule})


BOOK = Rulebook("Watch", "rule", make)


@hookimpl
def record_types():
    rule = Field("rule", Kind.JSON, "Which customers.", condition="Customer")
    fields = (ID, Field("name", Kind.TEXT, "Its name.", required=True), rule, *AUDIT)
    return [RecordType("Watch", "watches", Watch, "Watches.", fields, known_by=("name",), configuration=True)]


async def explain(ask):
    arguments = ask.arguments
    return await explain_rule(ask.fetch, ask.context, ask.policy, "Customer", arguments["rule"], arguments["id"])


@hookimpl
def queries():
    arguments = (Argument("rule", "JSON!", "The rule."), Argument("id", "ID!", "The customer."))
    return [Query("watchExplain", "Explains.", "[ConditionExplanation!]!", explain, arguments)]


@hookimpl
async def changed(batch, changes):
    if batch.record.name == "Watch":
        return
    catalog = changes.policy.catalog
    rules = await BOOK.read(changes)
    if rules.footprint is None:
        return
    ids = await rules.footprint.affected(changes.connection, catalog, batch, 100)
    if ids:
        matching = await rules.matching(changes.connection, changes.context, list(ids))
        SEEN.append({str(id_): sorted(names) for id_, names in matching.items()})
