"""What a run takes of the machine: device, cores, memory, signals, time."""
