from pathlib import Path

from piccolo.conf.apps import AppConfig

FOLDER = Path(__file__).parent / "piccolo_migrations"
APP = AppConfig("comes_back_otherwise", FOLDER, migration_dependencies=["core.piccolo_app"])
