"""The plugin as a Piccolo app."""

from pathlib import Path

from piccolo.conf.apps import AppConfig

from plugins.shared_pool.tables import Pool, PoolAbsence, PoolClaim, PoolMember, PoolTeam

APP_CONFIG = AppConfig(
    app_name="shared_pool",
    migrations_folder_path=Path(__file__).parent / "piccolo_migrations",
    table_classes=[Pool, PoolTeam, PoolMember, PoolAbsence, PoolClaim],
    migration_dependencies=["core.piccolo_app"],
)
