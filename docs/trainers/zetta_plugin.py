# For `zetta run -i`, which executes this text inside of a function: classes that are defined here could not be pickled.
# PYTHONPATH must have the folder of zetta_windows.py, also for worker processes.
import zetta_windows  # noqa: F401
