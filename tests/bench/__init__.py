"""How long it takes, beside skopeo in the same run; see RESULTS.md for what was seen."""
