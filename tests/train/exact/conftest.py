"""The programs are run, each in a process of its own; they are no tests."""

collect_ignore_glob = ["on_*.py", "run.py"]
