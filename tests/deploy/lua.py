"""Run Lua scripts as Argo CD does (its util/lua): Lua 5.1, the object as the global ``obj``, few libraries."""

from __future__ import annotations

from typing import Any

from lupa import lua51  # type: ignore[import-untyped]

Object = dict[str, Any]

_SANDBOX = """
os = {time = os.time, date = os.date}
package.loaded.os = os
getmetatable("").__index = nil
for _, library in ipairs({"string", "math", "io", "debug", "coroutine", "python"}) do
  _G[library] = nil
  package.loaded[library] = nil
end
"""
"""Argo CD opens the libraries package, base and table, and the time functions of os."""


class ScriptError(Exception):
    """A script called ``error``; the text is its message."""


def run_script(script: str, item: Object) -> Any:  # noqa: ANN401 - what it returns, as JSON
    """Return the result of a script for an object.

    An empty table may be a list or an object: it counts as what was there before, as in Argo CD.

    Raises:
        ScriptError: the script refused.
    """
    lua = lua51.LuaRuntime(unpack_returned_tuples=True)
    lua.execute(_SANDBOX)
    lua.globals().obj = lua.table_from(item, recursive=True)
    try:
        returned = lua.execute(script)
    except lua51.LuaError as error:
        raise ScriptError(str(error).partition("\nstack traceback:")[0]) from None
    return _plain(returned, item)


def _plain(value: Any, before: Any) -> Any:  # noqa: ANN401 - JSON
    """Return a Lua value as JSON; ``before`` is the earlier value in its place."""
    if lua51.lua_type(value) != "table":
        return value
    fields = dict(value.items())
    if not fields:
        return {} if isinstance(before, dict) else []
    if all(isinstance(key, int) for key in fields):
        items = before if isinstance(before, list) else []
        return [_plain(fields[n + 1], items[n] if n < len(items) else None) for n in range(len(fields))]
    held = before if isinstance(before, dict) else {}
    return {key: _plain(inner, held.get(key)) for key, inner in fields.items()}
