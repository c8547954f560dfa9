"""The plugin as a Piccolo app."""

from pathlib import Path

from piccolo.conf.apps import AppConfig

from crm_loyalty.tables import LoyaltyEntry

APP_CONFIG = AppConfig(
    app_name="loyalty",
    migrations_folder_path=Path(__file__).parent / "piccolo_migrations",
    table_classes=[LoyaltyEntry],
    migration_dependencies=["core.piccolo_app"],
)
