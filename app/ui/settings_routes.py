"""The Settings tab: every setting with the words, bounds and choices of its model, and changes to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Body, Response
from fastapi.responses import JSONResponse

from app.errors import PatchbayError
from app.settings import Settings, SettingsStore

KINDS = {"boolean": "switch", "integer": "number", "number": "number", "array": "lines"}
"""The control for each type of a JSON schema; any other is a line of text."""


def settings_routes(store: SettingsStore) -> APIRouter:
    """The routes about settings."""
    routes = APIRouter()

    @routes.get("/app/settings.json")
    def settings() -> dict[str, Any]:
        return {"sections": list(_sections(store)), "problems": [problem.as_json() for problem in store.problems]}

    @routes.post("/app/settings")
    def change(values: Annotated[dict[str, Any], Body()]) -> Response:
        """Set some keys, and keep them."""
        try:
            store.change(values)
        except PatchbayError as error:
            return JSONResponse(error.as_json(), 422)
        return JSONResponse(settings())

    @routes.post("/app/settings/reset")
    def reset(keys: Annotated[list[str], Body(embed=True)]) -> Response:
        """Give some keys their defaults back."""
        try:
            store.reset(keys)
        except PatchbayError as error:
            return JSONResponse(error.as_json(), 422)
        return JSONResponse(settings())

    return routes


def _sections(store: SettingsStore) -> Iterator[dict[str, Any]]:
    current, usual = store.current.model_dump(mode="json"), Settings().model_dump(mode="json")
    for name, field in Settings.model_fields.items():
        model = type(getattr(store.current, name))
        fields = [
            {
                **_control(schema),
                "key": f"{name}.{key}",
                "title": schema.get("title", key),
                "description": schema.get("description", ""),
                "value": current[name][key],
                "default": usual[name][key],
                "locked": f"{name}.{key}" in store.locked,
            }
            for key, schema in model.model_json_schema()["properties"].items()
        ]
        yield {"name": name, "title": field.title or name, "about": model.__doc__ or "", "fields": fields}


def _control(schema: dict[str, Any]) -> dict[str, Any]:
    """The kind of control that a field's JSON schema asks for, with its bounds or choices."""
    options = [option for option in schema.get("anyOf", [schema]) if option.get("type") != "null"]
    chosen = options[0] if options else {}
    if "enum" in chosen:
        return {"kind": "choice", "choices": chosen["enum"]}
    kind = KINDS.get(str(chosen.get("type")), "text")
    low, high = chosen.get("minimum"), chosen.get("maximum")
    step = chosen.get("multipleOf", 1 if chosen.get("type") == "integer" else "any")
    bounds = {"low": low, "high": high, "step": step} if kind == "number" else {}
    return {"kind": kind, "optional": len(options) < len(schema.get("anyOf", [schema])), **bounds}
