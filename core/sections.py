"""The settings of a deployment, by the sections they have in its file."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, SecretStr, field_validator

MIN_SECRET = 32
#: Bytes of a file; its size is an Int of GraphQL.
MAX_FILE = 2**31 - 1

Names = tuple[str, ...]


def absolute(path: Path | None) -> Path | None:
    """A path that means the same wherever the process goes."""
    return None if path is None else path.expanduser().absolute()


class Database(BaseModel):
    """The database, and the connections to it."""

    database_url: SecretStr | None = Field(
        None,
        description="PostgreSQL 15 to 18, postgresql://user:password@host/name; none starts one in data_dir",
    )
    replica_url: SecretStr | None = Field(
        None,
        description="Streaming replica of the database, for queries that come with the header X-Max-Staleness",
    )
    data_dir: Path = Field(
        Path(".crm"), description="Folder of the embedded server, the generated secret and, unless set, the files"
    )
    postgres_bin: Path | None = Field(
        None, description="Folder with initdb, pg_ctl and postgres to run instead of the embedded ones"
    )
    pool_size: int = Field(10, ge=1, description="Connections one process opens at most for one workspace")
    max_connections: int = Field(90, ge=2, description="Connections one process opens at most for all workspaces")
    pool_timeout: float = Field(10.0, gt=0, description="Seconds a request waits for a free connection")
    statement_timeout_ms: int = Field(10_000, ge=0, description="Milliseconds a statement may run; 0 is no limit")

    @field_validator("data_dir", "postgres_bin")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return absolute(path)

    @field_validator("database_url", "replica_url")
    @classmethod
    def _postgres(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and not url.get_secret_value().startswith(("postgresql://", "postgres://")):
            message = "must start with postgresql://"
            raise ValueError(message)
        return url


class Server(BaseModel):
    """Where the server listens, who may call it, and what it shows."""

    host: str = Field("127.0.0.1", description="Address to listen on")
    port: int = Field(8000, ge=1, le=65535, description="Port to listen on")
    public_url: str = Field(
        "", description="Where clients reach the server, such as https://crm.example.com; empty makes links relative"
    )
    allowed_hosts: Names = Field(
        ("*",), description="Host names answered to, separated by commas; *.example.com matches subdomains"
    )
    trusted_proxies: Names = Field(
        ("127.0.0.1", "::1"),
        description="Addresses and networks of proxies whose X-Forwarded-For and -Proto are believed, with commas",
    )
    cors_origins: Names = Field(
        (),
        description="Origins of browsers that may call, separated by commas; http://localhost:* is one at any port, "
        "none switches CORS off",
    )
    default_workspace: str = Field(
        "default", description="Slug of the workspace that /graphql is, where no host name says"
    )
    keep_answers: bool = Field(
        False, description="Lets browsers keep answers to GET, to ask by ETag whether they have changed"
    )
    production: bool = Field(False, description="Switches introspection, GraphiQL and every demo convenience off")

    @field_validator("allowed_hosts", "trusted_proxies", "cors_origins", mode="before")
    @classmethod
    def _split(cls, names: Any) -> Any:
        return tuple(n.strip() for n in names.split(",") if n.strip()) if isinstance(names, str) else names

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        try:
            for proxy in set(proxies) - {"*"}:
                ipaddress.ip_network(proxy)
        except ValueError:
            message = "must be addresses, networks such as 10.0.0.0/8, or *"
            raise ValueError(message) from None
        return proxies

    @field_validator("public_url")
    @classmethod
    def _address(cls, url: str) -> str:
        if url and not url.startswith(("http://", "https://")):
            message = "must start with https:// or http://"
            raise ValueError(message)
        return url.rstrip("/")


class SignIn(BaseModel):
    """Sessions, and the secret that signs them."""

    secret: SecretStr | None = Field(
        None,
        description=f"Signs tokens and links, {MIN_SECRET} characters or more; none makes one in data_dir",
    )
    access_token_minutes: int = Field(15, ge=1, description="Minutes an access token is valid")
    refresh_token_days: int = Field(30, ge=1, description="Days a session can be refreshed")

    @field_validator("secret")
    @classmethod
    def _long(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and len(secret.get_secret_value()) < MIN_SECRET:
            message = f"must have {MIN_SECRET} characters or more"
            raise ValueError(message)
        return secret


class Workers(BaseModel):
    """Background work."""

    worker_inside: bool = Field(True, description="Runs background jobs inside the server process too")
    bulk_job_records: int = Field(10_000, ge=0, description="A bulk mutation of more records is done as a job")


class Files(BaseModel):
    """Uploaded and made files."""

    files_dir: Path | None = Field(
        None, description="Folder of uploaded and made files, shared by all servers and workers; none is data_dir/files"
    )
    file_link_minutes: int = Field(15, ge=1, description="Minutes a link to a file is good for")
    file_days: int = Field(7, ge=1, description="Days an uploaded file is kept that nothing has been made of")
    max_upload_bytes: int = Field(200_000_000, ge=1_000, le=MAX_FILE, description="Largest uploaded file")
    max_upload_files: int = Field(10, ge=1, description="Most files in one request")
    max_upload_total_bytes: int = Field(
        400_000_000, ge=1_000, le=MAX_FILE, description="Largest sum of the files of one request"
    )

    @field_validator("files_dir")
    @classmethod
    def _absolute_files(cls, path: Path | None) -> Path | None:
        return absolute(path)


class Limits(BaseModel):
    """What one operation, one client and one process may ask for."""

    max_body_bytes: int = Field(2_000_000, ge=1_000, description="Largest request body, uploads excepted")
    max_document_characters: int = Field(50_000, ge=1_000, description="Most characters in a GraphQL document")
    max_tokens: int = Field(4_000, ge=100, description="Most tokens in a GraphQL document")
    max_depth: int = Field(18, ge=5, description="Most levels of fields in an operation")
    max_aliases: int = Field(30, ge=0, description="Most aliases in an operation")
    max_directives: int = Field(50, ge=0, description="Most directives in an operation")
    max_fields: int = Field(1_500, ge=300, description="Most fields in an operation, fragments spread")
    max_root_fields: int = Field(30, ge=1, description="Most root fields in an operation")
    max_cost: int = Field(20_000, ge=1_000, description="Most rows times fields an operation may ask for")
    default_page_size: int = Field(50, ge=1, description="Records on a page when the query does not say")
    max_page_size: int = Field(200, ge=1, description="Most records on a page")
    max_subscriptions: int = Field(10_000, ge=0, description="Subscriptions one process keeps open at most")
    max_subscriptions_per_actor: int = Field(
        500, ge=1, description="Subscriptions one process keeps open at most for one actor"
    )
    max_sockets: int = Field(5_000, ge=1, description="WebSockets one process keeps open at most")
    max_operations_per_socket: int = Field(100, ge=1, description="Operations one WebSocket may have running at once")
    rate_limit_requests: int = Field(
        60_000, ge=0, description="Requests an actor may make in rate_limit_seconds, in all processes; 0 is no limit"
    )
    rate_limit_cost: int = Field(
        0, ge=0, description="Cost of the operations an actor may run in rate_limit_seconds; 0 is no limit"
    )
    rate_limit_anonymous: int = Field(
        6_000, ge=0, description="Requests one address may make in rate_limit_seconds without a token; 0 is no limit"
    )
    rate_limit_seconds: int = Field(60, ge=1, le=86_400, description="Seconds that the rate limits are for")

    @field_validator("max_page_size")
    @classmethod
    def _not_below_default(cls, size: int, info: Any) -> int:
        if size < info.data.get("default_page_size", 0):
            message = "must not be below default_page_size"
            raise ValueError(message)
        return size


class Log(BaseModel):
    """What is logged, counted and traced, and for whom."""

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severity that is logged")
    log_format: Literal["json", "console"] = Field("json", description="One JSON object a line, or text for people")
    metrics_token: SecretStr | None = Field(
        None, description="Bearer token for /metrics and the parts of /readyz; none lets in this machine only"
    )
    metrics_dir: Path | None = Field(
        None, description="Folder where the processes of one server share what they count; crm serve sets it"
    )
    otlp_endpoint: str | None = Field(
        None,
        description="OpenTelemetry collector to send spans to, such as http://localhost:4318; needs the extra otel",
    )
    otlp_service: str = Field("headless-crm", description="The service that spans are told to come from")

    @field_validator("metrics_dir")
    @classmethod
    def _absolute_metrics(cls, path: Path | None) -> Path | None:
        return absolute(path)


#: The sections, by their names in the file.
SECTIONS: dict[str, type[BaseModel]] = {
    "database": Database,
    "server": Server,
    "sign_in": SignIn,
    "workers": Workers,
    "files": Files,
    "limits": Limits,
    "log": Log,
}
