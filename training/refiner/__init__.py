"""Training of the refiner: degradations, pairs, the three stages (flow, distillation, rewards), evaluation."""
