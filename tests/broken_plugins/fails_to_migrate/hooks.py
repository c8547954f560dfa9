from piccolo.columns import UUID, Text
from piccolo.table import Table

from core import ID, Field, Kind, RecordType, hookimpl


class Thing(Table, tablename="failing_thing"):
    id = UUID(primary_key=True)
    name = Text()


@hookimpl
def record_types():
    return [
        RecordType(
            "FailingThing",
            "failingThings",
            Thing,
            "Things.",
            (ID, Field("name", Kind.TEXT, "Its name.", required=True)),
            actions=("read", "create"),
            soft_delete=False,
            versioned=False,
            default_order=(("id", False),),
        )
    ]
