"""Stub."""

from typing import Any
from aiohttp import web
from sallyport.lab.apiserver.errors import unsupported


def answer(registry: Any, path: str) -> web.Response:
    raise unsupported("x", 404)
