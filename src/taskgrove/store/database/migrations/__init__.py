"""The steps that bring a record up to this version's tables; forward only."""
