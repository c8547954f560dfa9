"""A workspace with dedupe on, and what its tests ask of it."""

from __future__ import annotations

from typing import Any

from tests.switching import Desk

ERROR = """__typename path code message ... on DuplicateError {
  criterion fields value blocking inContact customerId customerCode customerName ownerId ownerName deleted row }"""
CRITERION = """mutation($input: DuplicateCriterionCreateInput!) { duplicateCriterionCreate(input: $input) {
  duplicateCriterion { id status progress effect fields } userErrors { code path message } } }"""
CREATE = f"""mutation($input: CustomerCreateInput!) {{ customerCreate(input: $input) {{
  customer {{ id name }} userErrors {{ {ERROR} }} warnings {{ {ERROR} }} }} }}"""
UPDATE = CREATE.replace("Create", "Update")
BULK = f"""mutation($input: CustomersBulkCreateInput!) {{ customersBulkCreate(input: $input) {{
  counts customers {{ name }} userErrors {{ {ERROR} }} warnings {{ {ERROR} }} }} }}"""
CONTACT = f"""mutation($input: ContactCreateInput!) {{ contactCreate(input: $input) {{
  contact {{ id }} userErrors {{ {ERROR} }} warnings {{ {ERROR} }} }} }}"""
DELETE = "mutation($id: ID!) { customerDelete(input: {id: $id}) { userErrors { code } } }"
RESTORE = f"mutation($id: ID!) {{ customerRestore(input: {{id: $id}}) {{ userErrors {{ {ERROR} }} }} }}"
DISMISS = """mutation($ids: [ID!]!) { duplicatesDismiss(input: {customerIds: $ids}) {
  pairs userErrors { code } changeSet { id } } }"""
UNDO = "mutation($id: ID!) { changeSetUndo(input: {id: $id}) { conflicts userErrors { code } } }"
CLUSTERS = """query($id: ID!, $where: CustomerWhere, $first: Int, $after: String) {
  duplicateClusters(criterionId: $id, where: $where, first: $first, after: $after) {
    nodes { key count hidden members { name } } pageInfo { hasNextPage endCursor } } }"""


async def criterion(desk: Desk, *fields: str, **values: Any) -> str:
    made = await desk.do(CRITERION, input={"fields": list(fields), **values})
    assert made["userErrors"] == [], made
    assert made["duplicateCriterion"]["status"] == "ACTIVE"
    return made["duplicateCriterion"]["id"]


async def forget(desk: Desk) -> None:
    """Empty the base and its criteria."""
    for table in ("dedupe_criterion", "dedupe_key", "dedupe_dismissal", "contact", "customer_viewer", "customer"):
        await desk.database.pool(desk.workspace).execute(f"delete from {table}")


async def create(desk: Desk, actor: Any = None, **values: Any) -> Any:
    return await desk.do(CREATE, actor, input={"kind": "PERSON", **values})


async def errors(desk: Desk, actor: Any = None, **values: Any) -> list[dict[str, Any]]:
    """The user errors of creating a customer."""
    return (await create(desk, actor, **values))["userErrors"]
