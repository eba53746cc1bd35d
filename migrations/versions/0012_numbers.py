"""Numbers among the attributes of images, where an index over ranges finds them.

Revision: 0012
Follows: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

# Rounded, so that every number fits; monotonously, so that a rounded range misses none. NaN: in a list, so look there.
_NUMBERS_OF = """
    CREATE FUNCTION numbers_of(attributes jsonb) RETURNS TABLE (attribute bigint, value double precision)
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
        SELECT DISTINCT hashtextextended(name, 0),
            CASE
                WHEN jsonb_typeof(held) = 'array' THEN 'NaN'
                WHEN abs(CAST(held AS numeric)) >= 1e308
                    THEN sign(CAST(held AS numeric)) * CAST('Infinity' AS double precision)
                WHEN abs(CAST(held AS numeric)) < 1e-300 THEN 0
                ELSE CAST(held AS double precision)
            END
        FROM jsonb_each(attributes) AS pair (name, held)
        WHERE jsonb_typeof(held) = 'number'
            OR jsonb_path_exists(held, 'strict $[*] ? (@.type() == "number")', '{}', true)
    $$
"""

# EXECUTE plans each time: a plan made while the table was empty would read all of it later.
_FOLLOW = """
    CREATE FUNCTION follow_numbers() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        gone CONSTANT text := CASE TG_OP
            WHEN 'DELETE' THEN 'old_images'
            WHEN 'UPDATE' THEN '(SELECT old_images.* FROM old_images JOIN new_images USING (id)
                WHERE old_images.attributes <> new_images.attributes)'
        END;
        come CONSTANT text := CASE TG_OP
            WHEN 'INSERT' THEN 'new_images'
            WHEN 'UPDATE' THEN '(SELECT new_images.* FROM old_images JOIN new_images USING (id)
                WHERE old_images.attributes <> new_images.attributes)'
        END;
    BEGIN
        IF gone IS NOT NULL THEN
            EXECUTE 'DELETE FROM image_numbers AS stored USING '
                || '(SELECT gallery_id, id, number.* FROM ' || gone || ' AS image, '
                || 'numbers_of(attributes) AS number) AS gone '
                || 'WHERE stored.gallery_id = gone.gallery_id AND stored.attribute = gone.attribute '
                || 'AND stored.value = gone.value AND stored.image_id = gone.id';
        END IF;
        IF come IS NOT NULL THEN
            EXECUTE 'INSERT INTO image_numbers (gallery_id, attribute, value, image_id) '
                || 'SELECT gallery_id, number.attribute, number.value, id FROM ' || come || ' AS image, '
                || 'numbers_of(attributes) AS number ON CONFLICT DO NOTHING';
        END IF;
        RETURN NULL;
    END
    $$
"""
_TRIGGERS = {
    "insert": "REFERENCING NEW TABLE AS new_images",
    "update": "REFERENCING OLD TABLE AS old_images NEW TABLE AS new_images",
    "delete": "REFERENCING OLD TABLE AS old_images",
}


def upgrade() -> None:
    """Apply, and read the numbers of all images."""
    op.create_table(
        "image_numbers",
        sa.Column("gallery_id", sa.Uuid(), nullable=False),
        sa.Column("attribute", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("image_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("gallery_id", "attribute", "value", "image_id", name="pk_image_numbers"),
    )
    op.execute(_NUMBERS_OF)
    op.execute(_FOLLOW)
    for event, tables in _TRIGGERS.items():
        op.execute(
            f"CREATE TRIGGER follow_numbers_{event} AFTER {event} ON images {tables} "
            "FOR EACH STATEMENT EXECUTE FUNCTION follow_numbers()"
        )
    op.execute(
        "INSERT INTO image_numbers (gallery_id, attribute, value, image_id) "
        "SELECT gallery_id, number.attribute, number.value, id FROM images, numbers_of(attributes) AS number"
    )


def downgrade() -> None:
    """Undo."""
    for event in _TRIGGERS:
        op.execute(f"DROP TRIGGER follow_numbers_{event} ON images")
    op.execute("DROP FUNCTION follow_numbers")
    op.execute("DROP FUNCTION numbers_of")
    op.drop_table("image_numbers")
