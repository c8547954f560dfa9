"""The plugin as a Piccolo app."""

from pathlib import Path

from piccolo.conf.apps import AppConfig

from plugins.dedupe.tables import DedupeCriterion, DedupeDismissal, DedupeKey

APP_CONFIG = AppConfig(
    app_name="dedupe",
    migrations_folder_path=Path(__file__).parent / "piccolo_migrations",
    table_classes=[DedupeCriterion, DedupeKey, DedupeDismissal],
    migration_dependencies=["core.piccolo_app"],
)
