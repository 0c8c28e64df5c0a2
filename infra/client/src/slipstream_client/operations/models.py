"""Operations under `/api/v1/models`. Generated from the OpenAPI file: `make client`."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from ..models.model import Model
from ..models.model_page import ModelPage
from ..transport import Transport


class ModelsOperations(Transport):
    def list_models(
        self,
    ) -> ModelPage:
        """List models"""

        _kwargs: dict[str, Any] = {}
        response = self.send(
            "GET",
            "/api/v1/models",
            **_kwargs,
        )
        response_200 = ModelPage.from_dict(response.json())

        return response_200

    def read_model(
        self,
        model_id: str,
    ) -> Model:
        """Read model"""

        _kwargs: dict[str, Any] = {}
        response = self.send(
            "GET",
            "/api/v1/models/{model_id}".format(
                model_id=quote(str(model_id), safe=""),
            ),
            **_kwargs,
        )
        response_200 = Model.from_dict(response.json())

        return response_200
