"""Figures about speed and size: `python -m bench [NAME …]` prints them and writes bench/results/NAME.json."""
