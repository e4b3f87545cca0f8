"""What routes share: JSON as every door has it, and the service that answers."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Path, Request
from fastapi.responses import JSONResponse

from ..utils import strict_json
from .service import Service


class JsonResponse(JSONResponse):
    """JSON as the command line prints it (`utils.strict_json`): names that are no text, and no NaN."""

    def render(self, content: Any) -> bytes:
        return strict_json.dumps(content).encode()


async def service_of(request: Request) -> Service:
    """Return the service that answers a request (`async`, because anything else is called in a thread)."""
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(service_of)]
ItemNumber = Annotated[int, Path(ge=0, le=2**53, description="the `id` of a hit")]
