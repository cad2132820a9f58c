"""What MLflow runs to load a registered model. It is copied beside the model, so it only calls the package.

Nothing imports this module: MLflow runs it as a file ("models from code"), and `set_model` hands the model over.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

__all__ = ["InteractivePetModel"]


class InteractivePetModel(PythonModel):
    """A model of interactivepet: a row with an image's path -> the path of its mask, and volumes."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the model that lies beside this file."""
        from interactivepet.pipeline.predict.served import ServedModel

        config = context.model_config
        self.model = ServedModel(Path(context.artifacts["model"]), device=config["device"], tta=config["tta"])

    def predict(
        self, context: PythonModelContext, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Predict each row; one that cannot be used is an error of the request."""
        from interactivepet.errors import InteractivePetError

        try:
            return pd.DataFrame(self.model.predict(model_input.to_dict("records")))
        except InteractivePetError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error


set_model(InteractivePetModel())
