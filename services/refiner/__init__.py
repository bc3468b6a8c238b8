"""The refiner: base pictures to large ones."""
