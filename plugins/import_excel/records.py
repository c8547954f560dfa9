"""Imports and their faults, as clients read them."""

from __future__ import annotations

from core import CREATED_AT, CREATED_BY, ID, EnumType, Field, Kind, RecordType, ToMany, ToOne, Write
from plugins.import_excel import tables

STATE = EnumType(
    "ImportState",
    "How far an import is.",
    {
        "MAPPING": "The file was read; its columns are to be mapped to fields.",
        "PREVIEWING": "A job finds out what would become of each row.",
        "PREVIEWED": "It is known what would become of each row; nothing was changed.",
        "RUNNING": "A job writes the rows.",
        "DONE": "All rows were dealt with.",
        "FAILED": "The job could not be finished; what it had committed stands and can be undone.",
        "UNDONE": "It was undone, but for records that were changed again since.",
    },
)

MODE = EnumType(
    "ImportMode",
    "What becomes of rows whose customer exists already.",
    {
        "CREATE_ONLY": "They are skipped; only new customers are created.",
        "OVERWRITE": "The customer found by the key is changed; others are created.",
    },
)


def _text(name: str, description: str, vi: str, en: str, **more: object) -> Field:
    return Field(name, Kind.TEXT, description, write=Write.NEVER, labels={"vi": vi, "en": en}, **more)  # type: ignore[arg-type]


def _count(name: str, description: str, vi: str, en: str) -> Field:
    return Field(name, Kind.INT, description, required=True, write=Write.NEVER, labels={"vi": vi, "en": en})


def _json(name: str, description: str, vi: str, en: str) -> Field:
    return Field(
        name,
        Kind.JSON,
        description,
        write=Write.NEVER,
        filterable=False,
        sortable=False,
        labels={"vi": vi, "en": en},
    )


def _link(name: str, target: str, description: str, vi: str, en: str, *, required: bool = False) -> ToOne:
    labels = {"vi": vi, "en": en}
    return ToOne(name, target, description, required=required, write=Write.NEVER, labels=labels)


def _state_sql(alias: str) -> str:
    """The state, told by the job where that ended without being able to say so."""
    # crm: allow P802 only how the import's own jobs ended is told
    ended = "exists (select from job j where j.id = {} and j.status in ('FAILED', 'CANCELLED'))"
    return (
        f"case when {alias}.state = 'RUNNING' and {ended.format(f'{alias}.job_id')} then 'FAILED' "
        f"when {alias}.state = 'PREVIEWING' and {ended.format(f'{alias}.preview_job_id')} then 'MAPPING' "
        f"else {alias}.state end"
    )


IMPORT = RecordType(
    "Import",
    "imports",
    tables.Import,
    "Imports of customers from files. A user reads his own.",
    (
        ID,
        _text("fileName", "The file's name.", "Tên tệp", "File name", required=True),
        _text("fileHash", "The SHA-256 of its bytes.", "Mã SHA-256 của tệp", "File hash", required=True),
        Field(
            "state",
            Kind.ENUM,
            "How far it is.",
            enum=STATE,
            required=True,
            sql=_state_sql,
            labels={"vi": "Trạng thái", "en": "State"},
        ),
        _text("sheet", "The sheet that is imported; empty where the file has none.", "Trang tính", "Sheet"),
        _count("headerRow", "The row that names the columns, from 1; 0 where none does.", "Dòng tiêu đề", "Header row"),
        _count("rowCount", "How many rows of data there are.", "Số dòng", "Rows"),
        _json(
            "preview",
            "What would become of the rows: created, updated, unchanged, skipped and failed. Empty before a preview.",
            "Xem trước",
            "Preview",
        ),
        _json(
            "counts",
            "What became of the rows: rows, created, updated, unchanged, skipped, failed. Empty before it was done.",
            "Kết quả",
            "Counts",
        ),
        CREATED_AT,
    ),
    (
        _link("previewJob", "Job", "The job of the latest preview.", "Tác vụ xem trước", "Preview job"),
        _link("job", "Job", "The job that writes the rows.", "Tác vụ nhập", "Job"),
        _link("undoJob", "Job", "The job that undoes it.", "Tác vụ hoàn tác", "Undo job"),
        _link("file", "File", "The file that was uploaded.", "Tệp", "File"),
        _link(
            "failedFile",
            "File",
            "A workbook of the rows that failed, as they were and with the reason; correct it and upload it again.",
            "Tệp dòng lỗi",
            "Failed rows",
        ),
        ToMany("faults", "ImportFault", "import_id", "What is wrong with rows, by row."),
        CREATED_BY,
    ),
    owner="created_by",
    actions=("read",),
    soft_delete=False,
    versioned=False,
    journaled=False,
    labels={"vi": "Lần nhập dữ liệu", "en": "Import"},
)


def _letter_sql(alias: str) -> str:
    """The letters of a column."""
    n = f"{alias}.column_index"
    return (
        f"case when {n} < 26 then chr(65 + {n}) "
        f"when {n} < 702 then chr(64 + {n} / 26) || chr(65 + {n} % 26) "
        f"else chr(64 + ({n} - 26) / 676) || chr(65 + ({n} - 26) / 26 % 26) || chr(65 + {n} % 26) end"
    )


IMPORT_FAULT = RecordType(
    "ImportFault",
    "importFaults",
    tables.ImportFault,
    "What is wrong with a row of an import: where, why, and how to put it right.",
    (
        ID,
        _text("sheet", "The sheet.", "Trang tính", "Sheet"),
        Field(
            "row",
            Kind.INT,
            "The row in the sheet, from 1.",
            column="row_no",
            required=True,
            write=Write.NEVER,
            labels={"vi": "Dòng", "en": "Row"},
        ),
        Field(
            "column",
            Kind.TEXT,
            "The letter of the column, such as `C`; empty where the row as a whole is at fault.",
            sql=_letter_sql,
            labels={"vi": "Cột", "en": "Column"},
        ),
        _text("field", "The field it was for.", "Trường", "Field"),
        _text("value", "What stands in the cell.", "Giá trị", "Value"),
        _text("code", "The kind of fault.", "Mã lỗi", "Code", required=True),
        _text("reason", "What is wrong, for people.", "Lý do", "Reason", required=True),
        _text("fix", "How to put it right, for people.", "Cách sửa", "How to fix it", required=True),
        Field(
            "skipped",
            Kind.BOOL,
            "Whether the row was left out as already there rather than as wrong.",
            required=True,
            write=Write.NEVER,
            labels={"vi": "Bỏ qua", "en": "Skipped"},
        ),
    ),
    (_link("import", "Import", "The import.", "Lần nhập dữ liệu", "Import", required=True),),
    actions=(),
    exposed=False,
    follows=True,
    soft_delete=False,
    versioned=False,
    journaled=False,
    default_order=(("row", False),),
    labels={"vi": "Lỗi nhập dữ liệu", "en": "Import fault"},
)
