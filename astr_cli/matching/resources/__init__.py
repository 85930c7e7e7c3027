"""A run's use of the machine: device, cores, memory, signals, time."""
