"""Rules on hooks: known, with the right signature, and all in one module."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator

from core import hookspecs
from core.check.rule import Fault, Place
from core.check.source import Module, Part, Source
from core.check.syntax import Function, dotted, functions

#: The hooks there are, with their arguments and whether each is a coroutine.
HOOKS = {
    name: (tuple(inspect.signature(function).parameters), inspect.iscoroutinefunction(function))
    for name, function in vars(hookspecs).items()
    if hasattr(function, "crm_spec")
}


def known(source: Source) -> Iterator[Fault]:
    """Every marked function has the name of a hook."""
    for module, function in marked_functions(source):
        if function.name not in HOOKS:
            near = difflib.get_close_matches(function.name, HOOKS, 1)
            hint = f": {near[0]} is one" if near else ""
            yield Fault(f"there is no hook {function.name}{hint}", module.at(function))


def arguments(source: Source) -> Iterator[Fault]:
    """A hook takes any of the arguments that its specification has, and no others."""
    for module, function in marked_functions(source):
        if function.name not in HOOKS:
            continue
        there = HOOKS[function.name][0]
        given = function.args
        for argument in (*given.posonlyargs, *given.args, *given.kwonlyargs):
            if argument.arg not in there:
                message = f"{function.name} has no argument {argument.arg}: it has {', '.join(there)}"
                yield Fault(message, module.at(argument))
        for more in filter(None, (given.vararg, given.kwarg)):
            yield Fault(f"{function.name} is not called with {more.arg}: name its arguments", module.at(more))


def coroutines(source: Source) -> Iterator[Fault]:
    """A hook is `async` where its specification is, and only there."""
    for module, function in marked_functions(source):
        if function.name in HOOKS and (type(function).__name__ == "AsyncFunctionDef") is not HOOKS[function.name][1]:
            wanted = "must" if HOOKS[function.name][1] else "must not"
            yield Fault(f"{function.name} {wanted} be async", module.at(function))


def in_their_module(source: Source) -> Iterator[Fault]:
    """All hooks are in the module that the manifest names."""
    home = source.manifest.hooks
    if source.module(home) is None:
        yield Fault(f"the plugin has no module {home} for its hooks", source.in_manifest("hooks"))
    for module, function in marked_functions(source):
        if module.name != home:
            yield Fault(f"the hook {function.name} is never called here: it belongs into {home}", module.at(function))


def marked(source: Source) -> Iterator[Fault]:
    """What is named like a hook in the hooks' module is marked as one."""
    module = source.module(source.manifest.hooks)
    if module is None:
        return
    for function in functions(module):
        if function in module.tree.body and function.name in HOOKS and not _is_marked(function):
            yield Fault(f"{function.name} is named like a hook but not marked with @hookimpl", module.at(function))


def place_of(source: Source, hook: str) -> Place | None:
    """Where a plugin implements a hook."""
    return next((m.at(f) for m, f in marked_functions(source) if f.name == hook), None)


def marked_functions(source: Source) -> Iterator[tuple[Module, Function]]:
    """The functions that are marked as hooks, with their modules."""
    for module in source.modules:
        if module.part is Part.CODE:
            for function in functions(module):
                if _is_marked(function):
                    yield module, function


def _is_marked(function: Function) -> bool:
    for decorator in function.decorator_list:
        name = dotted(getattr(decorator, "func", decorator))
        if name.rpartition(".")[2] == "hookimpl":
            return True
    return False
