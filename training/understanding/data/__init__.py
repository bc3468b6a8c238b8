"""The planner's training data: a builder for every row of section 2.1 of the report."""
