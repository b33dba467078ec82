"""The tests: unit, contract, scenario, and what they stand on."""
