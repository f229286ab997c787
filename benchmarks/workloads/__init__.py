"""What the benchmarks of the node store work on and measure, one step a process."""
