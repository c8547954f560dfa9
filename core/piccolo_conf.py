"""Where Piccolo looks for its engine and the core's app; `PICCOLO_CONF` names this module."""

from piccolo.conf.apps import AppRegistry

from core.engine import ENGINE

DB = ENGINE
APP_REGISTRY = AppRegistry(apps=["core.piccolo_app"])
