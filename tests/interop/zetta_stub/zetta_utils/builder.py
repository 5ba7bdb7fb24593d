"""Objects by name: `"@type"`, and `"@mode": "partial"`."""

import functools

REGISTRY = {}


def register(name):
    def decorator(fn):
        if name in REGISTRY:
            raise RuntimeError(f"`builder` primitive with name '{name}' is already registered")
        REGISTRY[name] = fn
        return fn

    return decorator


def build(spec):
    if isinstance(spec, list):
        return [build(item) for item in spec]
    if not isinstance(spec, dict):
        return spec
    options = {key: build(value) for key, value in spec.items() if not key.startswith("@")}
    if "@type" not in spec:
        return options
    fn = REGISTRY[spec["@type"]]
    return functools.partial(fn, **options) if spec.get("@mode") == "partial" else fn(**options)
