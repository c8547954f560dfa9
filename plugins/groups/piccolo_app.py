"""The plugin as a Piccolo app."""

from pathlib import Path

from piccolo.conf.apps import AppConfig

from plugins.groups.tables import CustomerGroup, GroupMember

APP_CONFIG = AppConfig(
    app_name="groups",
    migrations_folder_path=Path(__file__).parent / "piccolo_migrations",
    table_classes=[CustomerGroup, GroupMember],
    migration_dependencies=["core.piccolo_app"],
)
