from core import hookimpl


@hookimpl
def queries():
    return ["customers"]
