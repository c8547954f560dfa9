"""All rules, by code. A code keeps its meaning for good; one that is given up is not used again."""

from __future__ import annotations

from core.check import (
    access,
    deprecated,
    described,
    hooks,
    imports,
    lifecycle,
    messages,
    migrations,
    names,
    package,
    settings,
    whole,
)
from core.check.rule import Rule, Stage

SOURCE, LOADED, TRIED = Stage.SOURCE, Stage.LOADED, Stage.TRIED

#: Without a valid manifest nothing else can be told, and whoever cannot be loaded cannot be looked at further.
VALID = Rule("P101", "The manifest is there, complete and valid.", SOURCE, package.manifest_valid)
LOADS = Rule(
    "P901", "The plugin can be loaded.", LOADED, lambda _: iter(()), ("P105", "P201", "P202", "P203", "P3", "P6", "P7")
)

RULES = (
    VALID,
    Rule("P102", "The versions of core that it works with have an upper end.", SOURCE, package.core_bound),
    Rule("P103", "There is a README.", SOURCE, package.readme),
    Rule("P104", "There are tests.", SOURCE, package.tests),
    Rule("P105", "Every file is Python.", SOURCE, package.readable),
    Rule("P201", "Of core, only its public root is imported.", SOURCE, imports.public_root),
    Rule("P202", "No other plugin is imported.", SOURCE, imports.no_other_plugin),
    Rule("P203", "No connection, engine or Piccolo query of its own is used.", SOURCE, imports.no_connection),
    Rule("P204", "Nothing that is deprecated is used.", SOURCE, deprecated.unused),
    Rule("P301", "Every hook is known.", SOURCE, hooks.known),
    Rule("P302", "Hooks take only arguments that they are called with.", SOURCE, hooks.arguments),
    Rule("P303", "Hooks are async where they are awaited, and only there.", SOURCE, hooks.coroutines),
    Rule("P304", "All hooks are in the module of hooks.", SOURCE, hooks.in_their_module),
    Rule("P305", "What is named like a hook is marked as one.", SOURCE, hooks.marked),
    Rule("P401", "Every name that clients see carries one of the plugin's nouns.", LOADED, names.carry_nouns),
    Rule("P402", "Its nouns are not those of core or of another plugin.", LOADED, names.nouns_free),
    Rule("P403", "Abilities and jobs begin with the plugin's name.", LOADED, names.prefixed),
    Rule("P404", "Everything that is added has a description.", LOADED, described.described),
    Rule("P405", "Record types, fields and links have labels in every language.", LOADED, described.labelled),
    Rule("P406", "Every table carries one of the plugin's nouns.", TRIED, lifecycle.tables_named),
    Rule("P501", "Every message is there in every language.", SOURCE, messages.same_keys),
    Rule("P502", "A message has the same placeholders in every language.", SOURCE, messages.same_placeholders),
    Rule("P503", "Every message that the code asks for is there.", SOURCE, messages.used_exist),
    Rule("P504", "Every placeholder of a message gets its value.", SOURCE, messages.filled_in),
    Rule("P505", "What is shown to people comes from the messages.", SOURCE, messages.translated),
    Rule("P601", "Every setting has a default.", SOURCE, settings.with_defaults),
    Rule("P602", "Every setting has a description.", LOADED, settings.documented),
    Rule("P603", "Unknown settings are refused.", LOADED, settings.unknown_refused),
    Rule("P701", "Migrations are named after the plugin.", SOURCE, migrations.named),
    Rule("P702", "Migrations can be taken back, or say why not.", SOURCE, migrations.reversible),
    Rule("P703", "Migrations taken back leave the schema as it was.", TRIED, lifecycle.reversed_whole, ("P702",)),
    Rule("P801", "Every table is a record type's, or internal with a reason.", TRIED, lifecycle.tables_known),
    Rule("P802", "What is read of governed records comes through policy.", SOURCE, access.read_by_policy),
    Rule("P803", "Core's tables are written by change sets only.", SOURCE, access.written_by_changes),
    LOADS,
    Rule("P902", "It composes with core and every other plugin.", LOADED, whole.composes),
    Rule("P903", "It only adds to the schema of core and the other plugins.", LOADED, whole.adds_only),
    Rule("P904", "It can be switched on and purged.", TRIED, lifecycle.switched_on),
    Rule("P905", "Its purge leaves nothing but the history.", TRIED, lifecycle.purged_whole),
)
