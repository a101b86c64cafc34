"""The private network: sandbox, namespaces, Mininet nodes and links, capture taps."""
