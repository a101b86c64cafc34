"""What a lab will be: topology, layout, services, plan; descriptions, before anything starts."""
