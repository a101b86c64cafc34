"""Labs in virtual time: a plan carried out in a simulated world."""
