from core import Member, ObjectType, hookimpl


@hookimpl
def object_types():
    return [ObjectType("Customer", "Mine.", (Member("id", "ID", "Its id."),))]
