"""Finding the robot on the field from nowhere: the map as likelihoods, views kept together, the search over poses."""
