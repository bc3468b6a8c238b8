"""Training of the refiner: degradations, pairs, stages, evaluation."""
