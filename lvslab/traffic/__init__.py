"""Traffic: servers on the real servers, crafted flows, and wrapped load tools."""
