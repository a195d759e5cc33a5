"""How a problem is answered: the status, and `{error, detail, body, errors}` as clients of this API read it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from app.errors import CheckpointError, NetworkError, PatchbayError, PromptError, RequestError, SettingsError

CALLERS_FAULT = (CheckpointError, NetworkError, PromptError, RequestError, SettingsError)
UNKNOWN_NAMES = ("sampler_name", "scheduler")
"""Fields whose unknown names clients expect to be answered with 400."""


class ApiRoute(APIRoute):
    """A route whose problems are answered in the API's own shape."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler, with its problems caught at this edge."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except RequestValidationError as error:
                first = error.errors()[0]
                where = ".".join(str(part) for part in first["loc"] if part != "body") or "body"
                return _problem(422, "RequestError", f"{where}: {first['msg']}")
            except HTTPException as error:
                return _problem(error.status_code, "HTTPException", str(error.detail))
            except PatchbayError as error:
                told = [str(problem) for problem in error.problems] or [str(error)]
                return _problem(_status(error), type(error).__name__, "; ".join(told))

        return answer


def _status(error: PatchbayError) -> int:
    if isinstance(error, RequestError) and error.where in UNKNOWN_NAMES:
        return 400
    return 422 if isinstance(error, CALLERS_FAULT) else 500


def _problem(status: int, kind: str, detail: str) -> JSONResponse:
    line = " ".join(detail.split())
    return JSONResponse({"error": kind, "detail": line, "body": "", "errors": line}, status)
