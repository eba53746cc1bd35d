"""Numbers among the attributes of images, in an order that an index can serve. See docs/adr/0022."""

from uuid import UUID

from sqlalchemy import BigInteger, Double
from sqlalchemy.orm import Mapped, mapped_column

from storage.tables.base import Base


class ImageNumberRow(Base):
    """Where an attribute of an image is a number. Triggers on `images` write it, so it is always complete.

    `attribute` is a hash of the name, and `value` is rounded; NaN where a list holds numbers. So it tells what *may*
    pass a range, and whoever reads it looks at the attributes themselves next. No foreign keys: triggers delete too.
    """

    __tablename__ = "image_numbers"

    gallery_id: Mapped[UUID] = mapped_column(primary_key=True)
    attribute: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    value: Mapped[float] = mapped_column(Double, primary_key=True)
    image_id: Mapped[UUID] = mapped_column(primary_key=True)
