"""The core as a Piccolo app: its tables and where their migrations are."""

from pathlib import Path

from piccolo.conf.apps import AppConfig, table_finder

APP_CONFIG = AppConfig(
    app_name="core",
    migrations_folder_path=Path(__file__).parent / "piccolo_migrations",
    table_classes=table_finder(["core.tables"], exclude_imported=True),
)
