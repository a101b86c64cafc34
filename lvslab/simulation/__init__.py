"""Virtual time: real kernels as guests, a simulated world around them, one calendar for both."""
