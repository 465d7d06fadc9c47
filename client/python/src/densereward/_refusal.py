"""What an answer other than 200 means, with its remedy."""

from __future__ import annotations

import json
from typing import Any, Mapping, Optional, Tuple, Union

from ._errors import ConfigurationError, InvalidResponseError, ServerError, server_error
from ._response import unpack
from ._transport import Answer


def refusal(answer: Answer, path: str, has_token: bool) -> Union[ServerError, ConfigurationError]:
    """The error of an answer that is not a response, in msgpack or JSON; one that
    is neither comes from something between us and the server, or in its place."""
    told = _told(answer)
    remedy = _remedy(answer, path, has_token)
    request_id = answer.headers.get("x-request-id")
    if told is not None:
        code, message = told
        return server_error(code, message + (f"; {remedy}" if remedy else ""), answer.status, request_id)
    if 300 <= answer.status < 400:
        target = answer.headers.get("location", "nowhere")
        return ConfigurationError(f"{answer.address}{path} redirects to {target}, which is not followed: give the address of the server itself")
    text = answer.body[:200].decode("utf-8", "replace")
    if answer.status == 400 and "HTTPS" in text:
        secure = answer.address.replace("http://", "https://", 1)
        return ConfigurationError(f"{answer.address} does not speak plain HTTP: try {secure}")
    message = f"HTTP status {answer.status}: {text}" + (f"; {remedy}" if remedy else "")
    return ServerError(message, code=f"http_{answer.status}", status=answer.status, request_id=request_id)


def _told(answer: Answer) -> Optional[Tuple[str, str]]:
    """Code and message of an error of the protocol."""
    try:
        json_kind = answer.headers.get("content-type", "").startswith("application/json")
        fields: Mapping[str, Any] = json.loads(answer.body) if json_kind else unpack(answer.body)
        code, message = fields["code"], fields["message"]
    except (ValueError, KeyError, TypeError, RecursionError, InvalidResponseError):
        return None
    return (code, message) if isinstance(code, str) and isinstance(message, str) else None


def _remedy(answer: Answer, path: str, has_token: bool) -> str:
    if answer.status == 401 and not has_token:
        return "the client has no token, token= gives it one"
    if answer.status in (404, 405) and _told_of_path(answer):
        return f"there is no {path} at {answer.address}: give the root of a DenseReward server, such as http://host:8080"
    return ""


def _told_of_path(answer: Answer) -> bool:
    told = _told(answer)
    return told is None or told[0] in ("not_found", "method_not_allowed")
