"""How right the verifiers are: on sound pictures, and on pictures with one planted fault."""
