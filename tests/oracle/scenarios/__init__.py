"""The scenarios: each public function is one, and its docstring says what is asked."""
