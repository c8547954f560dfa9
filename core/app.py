"""The application a server runs."""

from __future__ import annotations

from core.http.application import Application
from core.http.services import open_services
from core.log import configure
from core.settings import Settings


def build_app(settings: Settings) -> Application:
    """The ASGI application of these settings; its lifespan opens the database and closes it."""
    configure(settings)
    return Application(settings, open_services)
