from core import hookimpl


@hookimpl
def check(batch):
    return []
