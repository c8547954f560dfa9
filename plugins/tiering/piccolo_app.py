"""The plugin as a Piccolo app."""

from pathlib import Path

from piccolo.conf.apps import AppConfig

from plugins.tiering.tables import Tier, TierMember

APP_CONFIG = AppConfig(
    app_name="tiering",
    migrations_folder_path=Path(__file__).parent / "piccolo_migrations",
    table_classes=[Tier, TierMember],
    migration_dependencies=["core.piccolo_app"],
)
