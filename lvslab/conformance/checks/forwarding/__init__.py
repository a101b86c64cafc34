"""What forwarding does to packets, in every mode, IP version and protocol, byte for byte."""
