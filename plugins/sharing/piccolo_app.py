"""The plugin as a Piccolo app."""

from pathlib import Path

from piccolo.conf.apps import AppConfig

from plugins.sharing.tables import SharingAct, SharingActCustomer

APP_CONFIG = AppConfig(
    app_name="sharing",
    migrations_folder_path=Path(__file__).parent / "piccolo_migrations",
    table_classes=[SharingAct, SharingActCustomer],
    migration_dependencies=["core.piccolo_app"],
)
