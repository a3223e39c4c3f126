"""The same training steps by this project and by its peers, timed in turns: `python3 -m benchmarks.race`."""
