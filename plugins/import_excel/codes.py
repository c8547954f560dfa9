"""The codes of the plugin's user errors, and what they mean."""

CODES = {
    "UNREADABLE_FILE": "A file cannot be read; `params.kind` says in what way.",
    "NO_SUCH_COLUMN": "A mapping names a column that the file does not have.",
    "COLUMN_TWICE": "A mapping names a column twice.",
    "NO_SUCH_TARGET": "A mapping names a target that does not exist, or that the actor may not write.",
    "TARGET_TWICE": "A mapping names a target twice.",
    "NOT_CHECKABLE": "Rows cannot be told apart by the target.",
    "KEY_NOT_MAPPED": "No column is mapped to the key of an overwriting import.",
    "NAME_NOT_MAPPED": "No column is mapped to the name of new customers.",
    "NO_GROUPS": "There are no groups in this workspace.",
    "NO_SUCH_ID": "An id names nothing that the actor may read.",
    "NOT_NOW": "The import is not in a state in which this can be done.",
    "FILE_GONE": "The uploaded file is no longer kept.",
    "UNDONE_ALREADY": "The import was undone already.",
    "ALREADY_IMPORTED": "The same file was imported in the same way before.",
}
