"""Ball and robots: association, gates, Kalman filters, births and deaths, the blind zone, what can be seen at all."""
