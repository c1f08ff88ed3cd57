"""What `launch.py` is made of: options, the process table, the run directory."""
