from core import hookimpl


@hookimpl
def abilities():
    return {"roles": "Mine."}
