"""How a judge's margins become probabilities, and how much they count: fitted by `setr train reranker`. No torch."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import ModelLoadError

DEFAULT_WEIGHT = 0.5
"""w of the final order where no calibration was fitted: both stages count the same."""


class Calibration(BaseModel):
    """`calibration.json`, fitted on dev: P(Yes) = sigma(margin / temperature + bias); `weight` of the final order."""

    model_config = ConfigDict(frozen=True)

    temperature: float = Field(1.0, gt=0)
    bias: float = 0.0
    weight: float = Field(DEFAULT_WEIGHT, ge=0, le=1)


def read_calibration(path: Path) -> Calibration:
    """The calibration in a file. ModelLoadError when it is not a valid one; FileNotFoundError when it is absent."""
    try:
        return Calibration.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ModelLoadError(
            f"{path} is not a calibration (temperature > 0, bias, weight in 0..1): correct or remove it."
        ) from error
