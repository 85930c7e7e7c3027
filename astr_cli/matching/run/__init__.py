"""A whole run of `astr match`: its plan, its engine, its events."""
