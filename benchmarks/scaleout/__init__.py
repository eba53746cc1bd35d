"""One load shared by several hosts' worth of worker processes, and the speed-up."""
