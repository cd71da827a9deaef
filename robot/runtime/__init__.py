"""The one step, and who calls it: simulation, replay, on board. Modes of operation exist here and nowhere below."""
