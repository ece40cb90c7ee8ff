"""CEL validation rules (``x-kubernetes-validations``) with the functions that Kubernetes adds to CEL."""

import re
from functools import lru_cache
from typing import Any

import cel

from sallyport.lab.apiserver.celfunctions import FUNCTIONS, supported, used
from sallyport.lab.apiserver.errors import UNSUPPORTED, Cause, Object

_RULES = "x-kubernetes-validations"
# CEL keywords, escaped as __name__ in rules (apiserver/pkg/cel/escaping.go).
_RESERVED = frozenset(
    [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)
_CAUSES = {
    "FieldValueInvalid": "Invalid value: {value}{text}",
    "FieldValueForbidden": "Forbidden: {text}",
    "FieldValueRequired": "Required value: {text}",
    "FieldValueDuplicate": "Duplicate value: {value}{text}",
}


@lru_cache(maxsize=2048)
def _compile(rule: str) -> Any:
    return cel.compile(rule)


def _escape(key: str) -> str:
    if key in _RESERVED:
        return f"__{key}__"
    return (
        key.replace("__", "__underscores__").replace(".", "__dot__").replace("-", "__dash__").replace("/", "__slash__")
    )


def _convert(schema: Object, value: Any) -> Any:
    """A value as rules see it: property names escaped, numbers of type ``number`` as doubles."""
    if isinstance(value, dict):
        properties, extra = schema.get("properties") or {}, schema.get("additionalProperties")
        found: Object = {}
        for key, item in value.items():
            if key in properties:
                found[_escape(key)] = _convert(properties[key], item)
            else:
                found[key] = _convert(extra if isinstance(extra, dict) else {}, item)
        return found
    if isinstance(value, list):
        return [_convert(schema.get("items") or {}, item) for item in value]
    if schema.get("type") == "number" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def evaluate(schema: Object, value: Any, old: Any, path: str) -> list[Cause]:
    """What the rules at and below a schema refuse. ``old`` is the value before, None if there was none."""
    causes: list[Cause] = []
    if value is None:
        return causes
    for rule in schema.get(_RULES) or ():
        cause = _apply(schema, rule, value, old, path)
        if cause:
            causes.append(cause)
    if isinstance(value, dict):
        properties, extra = schema.get("properties") or {}, schema.get("additionalProperties")
        before = old if isinstance(old, dict) else {}
        for key, item in value.items():
            below = properties.get(key, extra)
            if isinstance(below, dict) and (path or key != "metadata"):
                here = f"{path}.{key}" if path else key
                causes += evaluate(below, item, before.get(key), here)
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for place, item in enumerate(value):
            causes += evaluate(schema["items"], item, _match(schema, item, old), f"{path}[{place}]")
    return causes


def _match(schema: Object, item: Any, old: Any) -> Any:
    """The former item of a keyed list; lists of other types have no correlation."""
    keys = schema.get("x-kubernetes-list-map-keys")
    if not keys or not isinstance(old, list) or not isinstance(item, dict):
        return None
    for former in old:
        if isinstance(former, dict) and all(former.get(key) == item.get(key) for key in keys):
            return former
    return None


def _apply(schema: Object, rule: Object, value: Any, old: Any, path: str) -> Cause | None:
    text = rule["rule"]
    try:
        program = _compile(text)
    except ValueError as err:
        return Cause(path, "InternalError", f"Internal error: rule {text!r} does not compile: {err}")
    bound: Object = {"self": _convert(schema, value)}
    if "oldSelf" in program.variables():
        if old is None:
            return None  # a transition rule speaks of updates only
        bound["oldSelf"] = _convert(schema, old)
    try:
        if _run(program, bound) is True:
            return None
        message = _message(rule, bound)
    except (RuntimeError, KeyError, TypeError, ValueError) as err:
        missing = f"no such key: {err.args[0]}" if isinstance(err, KeyError) else _brief(err)
        why = f"{missing} evaluating rule: {rule.get('message') or text}"
        return Cause(path, "FieldValueInvalid", f'Invalid value: "{schema.get("type")}": {why}')
    shown = "" if isinstance(value, dict | list) else f"{_shown(value)}: "
    reason = rule.get("reason") or "FieldValueInvalid"
    where = path + rule["fieldPath"] if rule.get("fieldPath") else path
    return Cause(where, reason, _CAUSES.get(reason, _CAUSES["FieldValueInvalid"]).format(value=shown, text=message))


def _shown(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)


def _run(program: Any, bound: Object) -> Any:
    context = cel.Context()
    for name in used(tuple(program.functions())):
        context.add_function(name, FUNCTIONS[name])
    for name, value in bound.items():
        context.add_variable(name, value)
    return program.execute(context)


def _message(rule: Object, bound: Object) -> str:
    if rule.get("messageExpression"):
        try:
            made = _run(_compile(rule["messageExpression"]), bound)
        except (RuntimeError, KeyError, TypeError, ValueError):
            made = None  # as upstream: a failing messageExpression falls back to message
        if isinstance(made, str) and made.strip():
            return made
    return str(rule.get("message") or "failed rule: " + rule["rule"])


def _brief(err: Exception) -> str:
    found = re.search(r"Error: (.*?)\. Check|failed: \w+: (.*?)\. Check", str(err))
    return (found[1] or found[2]) if found else str(err)


def check_schema(schema: Object, path: str) -> list[Cause]:
    """What is wrong with the rules in a schema of a new CRD: syntax, and functions not available here."""
    causes: list[Cause] = []
    for place, rule in enumerate(schema.get(_RULES) or ()):
        for field in ("rule", "messageExpression"):
            if rule.get(field):
                causes += _check_expression(rule[field], f"{path}.{_RULES}[{place}].{field}")
    below = [("items", schema.get("items")), ("additionalProperties", schema.get("additionalProperties"))]
    below += [(f"properties[{key}]", item) for key, item in (schema.get("properties") or {}).items()]
    for name, item in below:
        if isinstance(item, dict):
            causes += check_schema(item, f"{path}.{name}")
    return causes


def _check_expression(text: str, path: str) -> list[Cause]:
    try:
        program = _compile(text)
    except ValueError as err:
        line = str(err).splitlines()[0]
        return [Cause(path, "FieldValueInvalid", f'Invalid value: "{text}": compilation failed: {line}')]
    unknown = [name for name in program.functions() if not supported(name)]
    if unknown:
        return [Cause(path, "FieldValueInvalid", f'Invalid value: "{text}": the function {unknown[0]} {UNSUPPORTED}')]
    return []
