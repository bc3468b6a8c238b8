"""The design world: vector scenes whose every property can be checked exactly. See docs/world.md."""
