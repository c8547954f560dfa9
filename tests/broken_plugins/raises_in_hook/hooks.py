from core import hookimpl


@hookimpl
def extensions():
    raise ValueError("not today")
