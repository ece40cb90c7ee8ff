"""The words of the project: frozen values that every other package speaks in."""
