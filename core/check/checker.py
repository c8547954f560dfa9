"""Checking plugins: finds them, runs the rules stage by stage, and says what was found."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from core import manifest
from core.check.loaded import Loaded, Loader, importable
from core.check.rule import Fault, Place, Rule, Stage
from core.check.source import Source, plugins_in
from core.check.table import LOADS, RULES, VALID
from core.check.trial import Trial, try_out
from core.check.workshop import Workshop
from core.contributions import reason
from core.errors import ConfigError, PluginError
from core.plugins import GROUP

_ALLOWED = re.compile(r"#\s*crm:\s*allow\s+(P\d+)\s+\S")


@dataclass(frozen=True, slots=True)
class Found:
    """A fault and the rule that found it."""

    rule: Rule
    fault: Fault


@dataclass
class Report:
    """What the check of one plugin came to. `rules` are those that were run; `stopped` says why others were not."""

    name: str
    version: str
    folder: Path
    found: list[Found] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    stopped: str = ""
    seconds: float = 0.0


def chosen(select: Sequence[str] = (), ignore: Sequence[str] = ()) -> list[Rule]:
    """The rules whose codes begin with one of `select` (all without), less those that begin with one of `ignore`.

    Raises ConfigError for what no code begins with.
    """
    for given in (*select, *ignore):
        if not any(rule.code.startswith(given.upper()) for rule in RULES):
            raise ConfigError(f"there is no rule {given}: crm plugin check --list shows them", rule=given)

    def named(rule: Rule, given: Sequence[str]) -> bool:
        return any(rule.code.startswith(g.upper()) for g in given)

    return [rule for rule in RULES if (not select or named(rule, select)) and not named(rule, ignore)]


def sources(targets: Iterable[str]) -> list[Source]:
    """The plugins that paths (of a plugin, of a repository) and names of installed plugins mean.

    Raises ConfigError where one means none.
    """
    installed = {e.name: e.value for e in metadata.entry_points(group=GROUP)}
    folders: dict[Path, None] = {}
    for target in targets:
        if Path(target).exists():
            if not (there := plugins_in(Path(target))):
                raise ConfigError(f"there is no {manifest.FILE} in {target} or below", path=target)
            folders.update(dict.fromkeys(there))
        elif target in installed:
            try:
                folders[manifest.find(installed[target]).parent.resolve()] = None
            except PluginError as error:
                raise ConfigError(error.message, plugin=target) from error
        else:
            raise ConfigError(f"{target} is neither a path nor an installed plugin", path=target)
    return [Source.read(folder) for folder in folders]


def check(
    targets: Iterable[str], rules: Sequence[Rule], stage: Stage, told: Callable[[Report], None] = lambda _: None
) -> list[Report]:
    """Check plugins by some rules, up to a stage; `told` hears of each plugin at once. Raises ConfigError."""
    loader = Loader()
    reports = []
    with Workshop() as workshop:
        for source in sources(targets):
            started = time.perf_counter()
            report = Report(source.folder.name, "", source.folder)
            with importable(source):
                _check(source, report, [r for r in rules if r.stage <= stage], loader, workshop)
            report.found.sort(key=_order)
            report.seconds = time.perf_counter() - started
            told(report)
            reports.append(report)
    return reports


def _check(source: Source, report: Report, rules: Sequence[Rule], loader: Loader, workshop: Workshop) -> None:
    if faults := list(VALID.find(source)):
        report.stopped = "without a valid manifest nothing else can be told"
        if VALID in rules:
            _tell(report, VALID, faults)
        return
    report.name, report.version = source.manifest.name, source.manifest.version
    _run(Stage.SOURCE, source, report, rules)
    if not any(rule.stage >= Stage.LOADED for rule in rules):
        return
    try:
        loaded = loader.load(source)
    except (Exception, SystemExit) as error:  # noqa: BLE001 whatever a plugin raises, it is a fault of its
        report.stopped = f"it cannot be loaded: {reason(error).removeprefix('it cannot be loaded: ')}"
        if LOADS in rules:
            _tell(report, LOADS, [Fault(report.stopped)])
        return
    _run(Stage.LOADED, loaded, report, rules)
    if not any(rule.stage is Stage.TRIED for rule in rules):
        return
    if loaded.plugin.name in loaded.both.left_out:
        report.stopped = "it does not compose, so it was not tried in a workspace"
        return
    trial = workshop.run(try_out(workshop, loaded))
    if trial.stuck or trial.changed:
        report.stopped = "its migrations cannot be taken back, so it was not switched on"
    _run(Stage.TRIED, trial, report, rules)


def _run(stage: Stage, subject: Source | Loaded | Trial, report: Report, rules: Sequence[Rule]) -> None:
    for rule in rules:
        if rule.stage is stage:
            _tell(report, rule, rule.find(subject))


def _tell(report: Report, rule: Rule, faults: Iterable[Fault]) -> None:
    """Add what a rule found, unless that only follows from what was found already or is let through."""
    report.rules.append(rule)
    if not (rule.follows and any(found.rule.code.startswith(rule.follows) for found in report.found)):
        report.found += [Found(rule, f) for f in dict.fromkeys(faults) if not _allowed(rule, f.place)]


def _allowed(rule: Rule, place: Place | None) -> bool:
    """Whether the line, or the one above it, says `# crm: allow <code> <reason>`."""
    if place is None or not place.line or not place.file.is_file():
        return False
    lines = place.file.read_text(encoding="utf-8", errors="replace").splitlines()
    near = lines[max(0, place.line - 2) : place.line]
    return any(match.group(1) == rule.code for line in near if (match := _ALLOWED.search(line)))


def _order(found: Found) -> tuple[str, str, int, str]:
    place = found.fault.place
    return found.rule.code, str(place.file) if place else "", place.line if place else 0, found.fault.message
