"""The long-running processes: each gathers objects and facts, asks the planners, and lets the drivers act."""
