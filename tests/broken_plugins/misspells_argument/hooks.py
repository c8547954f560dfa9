from core import hookimpl


@hookimpl
def extensions(setings):
    return []
