"""The async twin of `chatgpt`, for asyncio and trio; its clients come with a later release."""

from importlib.util import find_spec

_MISSING = [name for name in ("anyio", "httpx2") if find_spec(name) is None]
if _MISSING:
    raise ImportError(
        f"chatgpt_async needs {' and '.join(_MISSING)}, which the extra 'async' brings: "
        "pip install 'chatgpt-sdk[async]'"
    )
