"""The credits of a usage row, the version of its rate card, and cached tokens by modality.

Older rows have no card version; their credits are their deductions, too. ``credits`` is a generated
column, so that it always equals the sum of the two deductions.
"""

from typing import Any

COLUMNS = (
    "credits INTEGER GENERATED ALWAYS AS (topup_deducted + token_deducted) VIRTUAL",
    "rate_card TEXT NOT NULL DEFAULT ''",
    "input_cached_text_tokens INTEGER NOT NULL DEFAULT 0 CHECK (input_cached_text_tokens >= 0)",
    "input_cached_audio_tokens INTEGER NOT NULL DEFAULT 0 CHECK (input_cached_audio_tokens >= 0)",
    "input_cached_image_tokens INTEGER NOT NULL DEFAULT 0 CHECK (input_cached_image_tokens >= 0)",
)


def up(migrator: Any, db: Any) -> None:
    """Add the columns."""
    for column in COLUMNS:
        db.execute_sql(f"ALTER TABLE usage_metrics ADD COLUMN {column}")
