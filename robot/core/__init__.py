"""The shared vocabulary: messages, geometry, configuration, errors. Imports nothing of the other rooms."""
