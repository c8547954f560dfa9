from core import hookimpl


@hookimpl
def extentions():
    return []
