from core import Extension, Field, Kind, hookimpl


@hookimpl
def extensions():
    return [Extension("Customer", fields=(Field("email", Kind.TEXT, "Mine.", sql=lambda a: f"{a}.email"),))]
