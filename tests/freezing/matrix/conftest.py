"""The engines' modules import their frameworks, each in a process of its own."""

collect_ignore_glob = ["on_*.py"]
