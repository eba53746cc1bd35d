"""A task that a tiny random model learns in a few steps: what is asked for is blue, everything else is not."""

import json
from pathlib import Path
from typing import Any

from PIL import Image

COUNT = 8
"""Pictures of each colour."""


def write_lessons(folder: Path) -> Path:
    """Judgements as JSON lines: of each grey reference, all blues are relevant and two reds are not."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for number in range(COUNT):
        shade = 90 + 5 * number
        for name, colour in (
            ("grey", (shade,) * 3),
            ("red", (shade + 100, 2 * number, 0)),
            ("blue", (0, 2 * number, shade + 100)),
        ):
            Image.new("RGB", (16, 16), colour).save(folder / f"{name}{number}.png")
    for number in range(COUNT):
        for name in ("red", "blue"):
            for other in range(COUNT if name == "blue" else 2):
                image = f"{name}{(number + other) % COUNT}.png"
                rows.append(
                    {"reference": f"grey{number}.png", "text": "blue", "image": image, "relevant": name == "blue"}
                )
    path = folder / "feedback.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
