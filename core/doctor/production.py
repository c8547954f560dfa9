"""The switches that a deployment in production should have set."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from core.doctor.finding import Finding, ok, warn
from core.settings import Settings


def production(settings: Settings) -> Iterator[Finding]:
    """What is open to others that should not be; little is asked of a server that only this machine reaches."""
    if not settings.production:
        if _loopback(settings.host):
            yield ok("production", f"off, and only this machine reaches {settings.host}")
        else:
            detail = f"off, while {settings.host} is reached from elsewhere: introspection and GraphiQL are open"
            yield warn("production", detail, "set CRM_PRODUCTION=true, unless this is a trial")
        return
    found = list(_switches(settings))
    yield from found
    if not found:
        yield ok("production", "on, with host names, addresses and limits set")


def _switches(settings: Settings) -> Iterator[Finding]:
    if not settings.public_url:
        cure = "set CRM_PUBLIC_URL to where clients reach the server, such as https://crm.example.com"
        yield warn("public_url", "not set: links to files are relative", cure)
    elif not settings.public_url.startswith("https://"):
        yield warn(
            "public_url", f"{settings.public_url} is not encrypted", "put TLS in front and begin it with https://"
        )
    if "*" in settings.allowed_hosts:
        cure = "set CRM_ALLOWED_HOSTS to the host names that clients use, separated by commas"
        yield warn("allowed_hosts", "any host name is answered to", cure)
    if open_to := [o for o in settings.cors_origins if o == "*" or o.startswith("http://")]:
        cure = "name the origins of your frontends, with https://"
        yield warn("cors_origins", f"browsers may call from {', '.join(open_to)}", cure)
    if "*" in settings.trusted_proxies:
        cure = "set CRM_TRUSTED_PROXIES to the addresses of your proxies: rate limits by address go by what they say"
        yield warn("trusted_proxies", "anybody may say what his address is", cure)
    for name, whose in (("rate_limit_requests", "users and keys"), ("rate_limit_anonymous", "strangers")):
        if getattr(settings, name) == 0:
            yield warn(name, f"{whose} may send as much as they like", f"set CRM_{name.upper()} above 0")
    if settings.statement_timeout_ms == 0:
        cure = "set CRM_STATEMENT_TIMEOUT_MS, such as 10000"
        yield warn("statement_timeout_ms", "a statement may run for ever", cure)
    if settings.log_level == "debug":
        yield warn("log_level", "debug: slow, and more than anybody reads", "set CRM_LOG_LEVEL=info")
    if settings.database_url is None:
        cure = "set CRM_DATABASE_URL to a PostgreSQL server with backups of its own, or back the embedded one up"
        yield warn("database_url", "the embedded server runs beside the application, on one machine", cure)


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
