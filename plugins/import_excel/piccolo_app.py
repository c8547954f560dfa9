"""The plugin as a Piccolo app."""

from pathlib import Path

from piccolo.conf.apps import AppConfig

from plugins.import_excel.tables import Import, ImportFault

APP_CONFIG = AppConfig(
    app_name="import_excel",
    migrations_folder_path=Path(__file__).parent / "piccolo_migrations",
    table_classes=[Import, ImportFault],
    migration_dependencies=["core.piccolo_app"],
)
