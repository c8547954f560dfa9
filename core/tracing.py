"""Spans for OpenTelemetry, where the settings name a collector; nothing is imported and nothing is done where not.

The spans of a request: the operation, and within it its plan, its statements, its change sets and, in a worker, a
job. None of them holds a value: statements have only parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from core.errors import ConfigError

if TYPE_CHECKING:
    from core.settings import Settings

#: What an application may send as a statement's text, in characters.
LONGEST = 4_000

_OFF: AbstractContextManager[Any] = nullcontext()


class _Off:
    """Makes no spans."""

    def span(self, _name: str, **_attributes: Any) -> AbstractContextManager[Any]:
        return _OFF

    def request(self, _name: str, _traceparent: str, **_attributes: Any) -> AbstractContextManager[Any]:
        return _OFF


class _On:
    """Makes spans and sends them in batches."""

    def __init__(self, provider: Any) -> None:
        from opentelemetry.trace import SpanKind  # noqa: PLC0415 - an extra
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        self.provider = provider
        self._tracer = provider.get_tracer("headless-crm", version("headless-crm"))
        self._server = SpanKind.SERVER
        self._propagator = TraceContextTextMapPropagator()

    def span(self, name: str, **attributes: Any) -> AbstractContextManager[Any]:
        # An exception's text may hold somebody's data; that there was one is told by the status alone.
        found: AbstractContextManager[Any] = self._tracer.start_as_current_span(
            name, attributes=_named(attributes), record_exception=False, set_status_on_exception=False
        )
        return found

    def request(self, name: str, traceparent: str, **attributes: Any) -> AbstractContextManager[Any]:
        found: AbstractContextManager[Any] = self._tracer.start_as_current_span(
            name,
            context=self._propagator.extract({"traceparent": traceparent}),
            kind=self._server,
            attributes=_named(attributes),
            record_exception=False,
            set_status_on_exception=False,
        )
        return found


_tracing: _Off | _On = _Off()


def start(settings: Settings, exporter: Any = None) -> None:
    """Begin to make spans where the settings name a collector, or for an `exporter` of one's own.

    Raises ConfigError where the packages for it are not there.
    """
    global _tracing  # noqa: PLW0603 - as OpenTelemetry's own provider is, one for the process
    if settings.otlp_endpoint is None and exporter is None:
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor  # noqa: PLC0415
    except ImportError as error:
        message = "CRM_OTLP_ENDPOINT is set, but OpenTelemetry is not installed: pip install 'headless-crm[otel]'"
        raise ConfigError(message, setting="otlp_endpoint") from error
    provider = TracerProvider(resource=Resource.create({"service.name": settings.otlp_service}), shutdown_on_exit=False)
    if exporter is not None:
        provider.add_span_processor(SimpleSpanProcessor(exporter))
    else:
        url = f"{str(settings.otlp_endpoint).rstrip('/')}/v1/traces"
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url)))
    _tracing = _On(provider)


def stop() -> None:
    """Send what has not been sent yet, and make no more spans."""
    global _tracing  # noqa: PLW0603
    if isinstance(_tracing, _On):
        _tracing.provider.shutdown()
    _tracing = _Off()


def on() -> bool:
    """Whether spans are made."""
    return isinstance(_tracing, _On)


def span(name: str, **attributes: Any) -> AbstractContextManager[Any]:
    """A part of what is being done, for a `with` block. In names of attributes `__` stands for a dot."""
    return _tracing.span(name, **attributes)


def statement(sql: str) -> AbstractContextManager[Any]:
    """The span of a statement, with its text."""
    return _tracing.span("statement", db__system__name="postgresql", db__query__text=sql[:LONGEST])


def request(traceparent: str, **attributes: Any) -> AbstractContextManager[Any]:
    """The span of a request, within the trace that its W3C `traceparent` header names; `tell` says what it was."""
    return _tracing.request("graphql", traceparent, **attributes)


def tell(found: Any, kind: str = "", operation: str = "", codes: Sequence[str] = ()) -> None:
    """Say of a request's span what came of it; `found` is what the span's `with` gave, None where there is none."""
    if found is None:
        return
    from opentelemetry.trace import StatusCode  # noqa: PLC0415

    if kind:
        found.update_name(f"{kind} {operation}".rstrip())
        found.set_attribute("graphql.operation.type", kind)
    if operation:
        found.set_attribute("graphql.operation.name", operation)
    if codes:
        found.set_attribute("crm.error.codes", list(codes))
        if "INTERNAL_SERVER_ERROR" in codes:
            found.set_status(StatusCode.ERROR)


def _named(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {key.replace("__", "."): value for key, value in attributes.items() if value is not None}
