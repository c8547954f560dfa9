from core import hookimpl
from tests.broken_plugins.good.hooks import SEEN


@hookimpl
async def changed(batch):
    if batch.record.name == "Customer":
        SEEN.append(("follows", batch.action))
