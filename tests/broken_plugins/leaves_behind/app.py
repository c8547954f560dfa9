from pathlib import Path

from piccolo.conf.apps import AppConfig

FOLDER = Path(__file__).parent / "piccolo_migrations"
APP = AppConfig("leaves_behind", FOLDER, migration_dependencies=["core.piccolo_app"])
